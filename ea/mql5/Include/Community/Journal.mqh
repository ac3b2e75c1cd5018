//+------------------------------------------------------------------+
//|                                                      Journal.mqh |
//| The terminal's memory across restarts: which claims it took,     |
//| which order sends it began, what it has to report.               |
//|                                                                  |
//| A line is in the file before the thing it announces is done. So  |
//| a claim without a line "sending" was never sent. A claim that    |
//| the journal does not hold proves nothing, and neither does a     |
//| journal that is damaged, or whose machine went down: such a      |
//| claim counts as sent.                                            |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_JOURNAL_MQH
#define COMMUNITY_JOURNAL_MQH

// What is kept when the journal is written anew: far more than can still be asked for.
#define INTENTS_KEPT  10000
#define COVERED_KEPT  10000
// Lines after which it is written anew while it runs.
#define LINES_MAX     50000
// Two estimates of when the machine was started that are further apart are of two starts.
#define BOOT_DRIFT_SECONDS 10
// Another program may hold a file for a moment.
#define HELD_TRIES    20
#define HELD_PAUSE_MS 50
// How often the file is told up to when all deals were seen to: a start looks at those since.
#define EXAMINED_EVERY_SECONDS 3600

class CJournal
  {
private:
   string            m_name;
   int               m_lock;
   int               m_file;
   int               m_lines;
   bool              m_broken;
   string            m_terminal;
   string            m_session;
   long              m_boot;
   long              m_examined;
   long              m_examined_written;
   long              m_base;
   CIntents          m_intents;
   CWaiting          m_waiting;
   long              m_next_report;
   // Deals and ended orders that a report accounts for.
   CTickets          m_covered;

   // FNV-1a: a torn or changed line does not count.
   string            Sum(const string text) const
     {
      uint hash=2166136261;
      int  length=StringLen(text);
      for(int i=0; i<length; i++)
        {
         hash^=(uint)StringGetCharacter(text,i);
         hash*=16777619;
        }
      return(StringFormat("%08x",hash));
     }
   long              Boot(void) const { return((long)TimeGMT()-(long)(GetTickCount64()/1000)); }
   string            NewName(void) const
     {
      MathSrand((int)(GetMicrosecondCount()^GetTickCount64()^(ulong)TimeLocal()));
      string name="ea-"+IntegerToString(AccountInfoInteger(ACCOUNT_LOGIN))+"-";
      for(int i=0; i<8; i++)
         name+=StringFormat("%03x",MathRand()&0xFFF);
      return(name);
     }
   void              AddWaiting(const long number,const long id,const string json)
     {
      m_waiting.Add(number,id,json);
      m_next_report=MathMax(m_next_report,number+1);
     }
   void              MarkReported(const long id)
     {
      if(m_intents.Find(id)>=0)
         m_intents.Settle(id);
     }
   void              Cover(const string tickets)
     {
      string parts[];
      int    count=StringSplit(tickets,',',parts);
      for(int i=0; i<count; i++)
         if(StringToInteger(parts[i])!=0)
            m_covered.Add(StringToInteger(parts[i]));
     }
   // What a line says; false for what was never written.
   bool              Apply(const string line)
     {
      string rest=line;
      string sum=CutWord(rest);
      if(sum!=Sum(rest))
         return(false);
      string kind=CutWord(rest);
      if(kind=="terminal")
         m_terminal=rest;
      else if(kind=="boot")
         m_boot=StringToInteger(rest);
      else if(kind=="examined")
         m_examined=StringToInteger(rest);
      else if(kind=="covered")
         Cover(rest);
      else if(kind=="claimed")
        {
         long id=StringToInteger(CutWord(rest));
         long magic=StringToInteger(CutWord(rest));
         m_intents.Claim(id,magic,(int)StringToInteger(rest));
         m_base=magic/MAGIC_SPAN;
        }
      else if(kind=="sending")
        {
         long id=StringToInteger(CutWord(rest));
         m_intents.Send(id,(int)StringToInteger(rest));
        }
      else if(kind=="settled")
         m_intents.Settle(StringToInteger(rest));
      else if(kind=="report")
        {
         long number=StringToInteger(CutWord(rest));
         long id=StringToInteger(CutWord(rest));
         Cover(CutWord(rest));
         AddWaiting(number,id,rest);
         MarkReported(id);
        }
      else if(kind=="answered")
         m_waiting.Drop(StringToInteger(rest));
      else
         return(false);
      return(true);
     }
   bool              Put(const int file,const string text)
     {
      string line=Sum(text)+" "+text;
      return(file!=INVALID_HANDLE && FileWriteString(file,line+"\r\n")>=(uint)StringLen(line));
     }
   bool              Broken(void)
     {
      m_broken=true;
      Alert("The journal can't be written, is the disk full? Nothing is executed any more; error ",GetLastError());
      return(false);
     }
   // Into the file; memory follows only what is there.
   bool              Write(const string text)
     {
      if(m_file==INVALID_HANDLE || m_broken)
         return(false);
      if(!Put(m_file,text))
         return(Broken());
      m_lines++;
      return(Apply(Sum(text)+" "+text));
     }
   void              Forget(void)
     {
      m_terminal="";
      m_boot=0;
      m_examined=0;
      m_examined_written=0;
      m_base=0;
      m_intents.Clear();
      m_waiting.Clear();
      m_next_report=1;
      m_covered.Clear();
     }
   // Reads an open file. A line that was being written when everything ended may be torn, the last one alone.
   bool              Load(const int file)
     {
      bool torn=false;
      while(!FileIsEnding(file))
        {
         string line=FileReadString(file);
         if(line=="")
            continue;
         if(torn || !Apply(line))
           {
            if(torn)
              {
               FileClose(file);
               return(false);
              }
            torn=true;
           }
        }
      FileClose(file);
      // Without its first line it is not this journal.
      return(m_terminal!="" || (m_intents.Size()==0 && m_waiting.Size()==0 && !torn));
     }
   // The whole as it is in memory, in other words.
   bool              PutAll(const int file)
     {
      bool done=Put(file,"terminal "+m_terminal) && Put(file,"boot "+IntegerToString(m_boot)) &&
                Put(file,"examined "+IntegerToString(m_examined));
      string tickets="";
      for(int i=MathMax(0,m_covered.Size()-COVERED_KEPT); i<m_covered.Size() && done; i++)
        {
         tickets+=(tickets=="" ? "" : ",")+IntegerToString(m_covered.At(i));
         if(StringLen(tickets)>1000 || i==m_covered.Size()-1)
           {
            done=Put(file,"covered "+tickets);
            tickets="";
           }
        }
      for(int i=MathMax(0,m_intents.Size()-INTENTS_KEPT); i<m_intents.Size() && done; i++)
        {
         string id=IntegerToString(m_intents.Id(i));
         done=Put(file,"claimed "+id+" "+IntegerToString(m_intents.Magic(i))+" "+IntegerToString(m_intents.Attempt(i))) &&
              (!m_intents.WasSent(i) || Put(file,"sending "+id+" "+IntegerToString(m_intents.Orders(i)))) &&
              (!m_intents.IsReported(i) || Put(file,"settled "+id));
        }
      for(int i=0; i<m_waiting.Size() && done; i++)
         done=Put(file,"report "+IntegerToString(m_waiting.Number(i))+" "+IntegerToString(m_waiting.Id(i))+" 0 "+m_waiting.Text(i));
      return(done);
     }
   // Puts the new file into the place of the old one.
   bool              Replace(void)
     {
      for(int i=0; i<HELD_TRIES; i++)
        {
         if(FileMove(m_name+".new",0,m_name,FILE_REWRITE))
            return(true);
         Sleep(HELD_PAUSE_MS);
        }
      return(false);
     }
   // A virus scanner or a backup may hold it for a moment.
   int               OpenPatiently(const string name,const int flags) const
     {
      int file=FileOpen(name,flags);
      for(int i=0; i<HELD_TRIES && file==INVALID_HANDLE; i++)
        {
         Sleep(HELD_PAUSE_MS);
         file=FileOpen(name,flags);
        }
      return(file);
     }
   bool              Append(void)
     {
      m_file=OpenPatiently(m_name,FILE_READ|FILE_WRITE|FILE_TXT|FILE_ANSI|FILE_SHARE_READ);
      return(m_file!=INVALID_HANDLE && FileSeek(m_file,0,SEEK_END));
     }
   // Writes the whole anew, beside the old one, and puts it into its place. Memory stays as it is; where it fails, so
   // does the old file, which is gone on with.
   bool              Rewrite(void)
     {
      int  file=FileOpen(m_name+".new",FILE_WRITE|FILE_TXT|FILE_ANSI);
      bool done=PutAll(file);
      if(file!=INVALID_HANDLE)
        {
         FileFlush(file);
         FileClose(file);
        }
      if(!done)
         return(false);
      if(m_file!=INVALID_HANDLE)
         FileClose(m_file);
      m_file=INVALID_HANDLE;
      bool replaced=Replace();
      m_lines=0;
      return(Append() && replaced);
     }

public:
                     CJournal(void) : m_name(""),m_lock(INVALID_HANDLE),m_file(INVALID_HANDLE),m_lines(0),m_broken(false) { Forget(); }
   // False, told in plain words, where nothing may be traded with it.
   bool              Open(const long login)
     {
      string stem="CommunityTrader-"+IntegerToString(login);
      m_name=stem+".journal";
      m_lock=FileOpen(stem+".lock",FILE_WRITE|FILE_BIN);
      if(m_lock==INVALID_HANDLE)
        {
         Alert("CommunityTrader can't start: it runs on another chart of this account already, or MQL5\\Files can't be written; error ",
               GetLastError());
         return(false);
        }
      Forget();
      int file=FileIsExist(m_name) ? OpenPatiently(m_name,FILE_READ|FILE_TXT|FILE_ANSI|FILE_SHARE_READ) : INVALID_HANDLE;
      if(file==INVALID_HANDLE && FileIsExist(m_name))
        {
         Alert("CommunityTrader can't start: the journal ",m_name," can't be read, does another program hold it? Error ",GetLastError());
         return(false);
        }
      if(file!=INVALID_HANDLE && !Load(file))
        {
         string aside=stem+".damaged-"+IntegerToString((long)TimeLocal());
         if(!FileMove(m_name,0,aside,0))
           {
            Alert("CommunityTrader can't start: the journal ",m_name," is damaged and can't be moved; error ",GetLastError());
            return(false);
           }
         Alert("The journal was damaged and is kept as ",aside,". What it took is looked up at the broker, and not sent again");
         Forget();
        }
      if(m_terminal=="")
        {
         m_terminal=NewName();
         m_examined=(long)TimeTradeServer()-7*86400;
        }
      else
         if(MathAbs(Boot()-m_boot)>BOOT_DRIFT_SECONDS)
            m_intents.Distrust(); // the file's last lines may have been lost with the machine
      m_session=StringFormat("%s-%I64d-%I64u",m_terminal,(long)TimeLocal(),GetTickCount64());
      m_boot=Boot();
      m_broken=false;
      if(!Rewrite())
        {
         Alert("CommunityTrader can't start: its journal can't be written to MQL5\\Files; error ",GetLastError());
         return(false);
        }
      return(true);
     }
   void              Close(void)
     {
      if(m_file!=INVALID_HANDLE)
         FileClose(m_file);
      if(m_lock!=INVALID_HANDLE)
         FileClose(m_lock);
      m_file=INVALID_HANDLE;
      m_lock=INVALID_HANDLE;
     }
   bool              IsOpen(void) const { return(m_file!=INVALID_HANDLE); }
   // Whether what it is told is kept: without that nothing may be sent.
   bool              IsSound(void) const { return(m_file!=INVALID_HANDLE && !m_broken); }
   string            Terminal(void) const { return(m_terminal); }
   // This run, in which memory knows every claim that arrived.
   string            Session(void) const { return(m_session); }
   // The broker's time up to which earlier runs have seen to all deals.
   datetime          ExaminedUntil(void) const { return((datetime)m_examined); }
   // The first part of all our magic numbers; 0: not known yet.
   long              Base(void) const { return(m_base); }
   void              SetBase(const long base) { m_base=base; }
   bool              IsOurs(const long magic) const { return(m_base>0 && magic/MAGIC_SPAN==m_base); }

   //--- claims
   bool              Claimed(const long id,const long magic,const int attempt)
     {
      return(Write("claimed "+IntegerToString(id)+" "+IntegerToString(magic)+" "+IntegerToString(attempt)));
     }
   // So many orders are about to be sent.
   bool              Sending(const long id,const int orders)
     {
      if(!Write("sending "+IntegerToString(id)+" "+IntegerToString(orders)))
         return(false);
      return(Flush());
     }
   // What is written before it returns survives the end of this process; false where it does not.
   bool              Flush(void)
     {
      if(m_file==INVALID_HANDLE || m_broken)
         return(false);
      ResetLastError();
      FileFlush(m_file);
      return(GetLastError()==0 || Broken());
     }
   // Where a signal is among the intents; -1: this journal does not know it.
   int               FindIntent(const long id) const { return(m_intents.Find(id)); }
   int               Intents(void) const { return(m_intents.Size()); }
   long              IntentId(const int at) const { return(m_intents.Id(at)); }
   long              IntentMagic(const int at) const { return(m_intents.Magic(at)); }
   int               IntentAttempt(const int at) const { return(m_intents.Attempt(at)); }
   int               Orders(const int at) const { return(m_intents.Orders(at)); }
   bool              WasSent(const int at) const { return(m_intents.WasSent(at)); }
   bool              IsReported(const int at) const { return(m_intents.IsReported(at)); }

   //--- reports
   // Takes a report; from then on it is delivered, whatever happens. Where the file fails, memory has to do.
   void              TakeReport(const long id,const string json,const string covers)
     {
      string number=IntegerToString(m_next_report);
      if(!Write("report "+number+" "+IntegerToString(id)+" "+(covers=="" ? "0" : covers)+" "+json))
        {
         Cover(covers);
         AddWaiting(m_next_report,id,json);
         MarkReported(id);
        }
      Flush();
     }
   int               Waiting(void) const { return(m_waiting.Size()); }
   long              FirstNumber(void) const { return(m_waiting.Number(0)); }
   string            FirstReport(void) const { return(m_waiting.Text(0)); }
   bool              IsWaiting(const long id) const { return(m_waiting.Has(id)); }
   void              Answered(const long number)
     {
      if(!Write("answered "+IntegerToString(number)))
         m_waiting.Drop(number);
     }
   bool              IsCovered(const long ticket) const { return(m_covered.Has(ticket)); }

   // All deals up to this time of the broker have been seen to. Keeps the file short.
   void              Examined(const datetime until)
     {
      if((long)until>m_examined_written+EXAMINED_EVERY_SECONDS && Write("examined "+IntegerToString((long)until)))
         m_examined_written=(long)until;
      m_examined=MathMax(m_examined,(long)until);
      if(m_lines<=LINES_MAX)
         return;
      m_lines=0; // what can't be done now is tried again after as many lines
      if(!Rewrite())
         Print("The journal can't be written anew and grows on; error ",GetLastError());
     }
  };

CJournal g_journal;
#endif
//+------------------------------------------------------------------+
