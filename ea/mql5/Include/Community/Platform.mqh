//+------------------------------------------------------------------+
//|                                                     Platform.mqh |
//| The one way to the platform: HTTP. Every request has a deadline; |
//| after a failure all of them pause a little. Trouble is told once |
//| in plain words; the key is in no message.                        |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_PLATFORM_MQH
#define COMMUNITY_PLATFORM_MQH

#define PAUSE_FIRST_MS 50
#define PAUSE_LAST_MS  1000
// Characters of an answer that are worth logging.
#define EXCERPT_MAX    160

class CPlatform
  {
private:
   string            m_url;
   string            m_headers;
   int               m_timeout;
   string            m_answer;
   string            m_answer_headers;
   string            m_trouble;
   uint              m_pause;
   ulong             m_quiet_until;

   string            ConnectionTrouble(const int error) const
     {
      switch(error)
        {
         case ERR_FUNCTION_NOT_ALLOWED:
            return("WebRequest is not allowed for "+m_url+
                   ": Tools > Options > Expert Advisors > Allow WebRequest for listed URL, add "+m_url+" and press OK (error 4014)");
         case ERR_WEBREQUEST_INVALID_ADDRESS:
            return("InpUrl "+m_url+" is no address (error 5200)");
         case ERR_WEBREQUEST_CONNECT_FAILED:
            return("No connection to "+m_url+": is the platform, or its relay, running? (error 5201)");
         case ERR_WEBREQUEST_TIMEOUT:
            return("No answer from "+m_url+" in time (error 5202)");
        }
      return("The request to "+m_url+" failed (error "+IntegerToString(error)+")");
     }
   // What the platform says is wrong; an answer of something else is shown as it is.
   string            Detail(void) const
     {
      CJsonReader json;
      string      detail=json.Parse(m_answer) ? json.Text(0,"detail") : "";
      return(detail!="" ? detail : StringSubstr(m_answer,0,EXCERPT_MAX));
     }
   string            StatusTrouble(const int status) const
     {
      switch(status)
        {
         case 401:
            return("The platform wants a key: set InpKey, or use the relay (401)");
         case 403:
            return("The platform refuses the key: wrong, revoked, or not a terminal's (403)");
         case 409:
            return("This is not the platform's account at the broker (409): "+Detail());
         case 429:
            return("The platform asks for fewer requests (429)");
        }
      return("The platform can't answer now ("+IntegerToString(status)+"): "+Detail());
     }
   void              Failed(const string trouble)
     {
      m_quiet_until=GetTickCount64()+m_pause;
      m_pause=MathMin(m_pause*2,(uint)PAUSE_LAST_MS);
      if(trouble==m_trouble)
         return;
      m_trouble=trouble;
      // What only a person can mend should be seen.
      if(StringFind(trouble,"4014")>=0 || StringFind(trouble,"(401)")>=0 || StringFind(trouble,"(403)")>=0 ||
         StringFind(trouble,"(409)")>=0)
         Alert(trouble);
      else
         Print(trouble);
     }
   bool              IsPassing(const int status) const
     {
      return(status==401 || status==403 || status==408 || status==409 || status==429 || status>=500);
     }

public:
                     CPlatform(void) : m_url(""),m_headers(""),m_timeout(5000),m_answer(""),m_answer_headers(""),m_trouble(""),
                                       m_pause(PAUSE_FIRST_MS),m_quiet_until(0) { }
   void              Init(const string url,const string key,const int timeout)
     {
      m_url=url;
      while(StringLen(m_url)>0 && StringGetCharacter(m_url,StringLen(m_url)-1)=='/')
         m_url=StringSubstr(m_url,0,StringLen(m_url)-1);
      m_headers="Content-Type: application/json\r\n"+(key=="" ? "" : "X-API-Key: "+key+"\r\n");
      m_timeout=timeout;
     }
   // False during the pause after a failure.
   bool              IsReady(void) const { return(GetTickCount64()>=m_quiet_until); }
   string            Trouble(void) const { return(m_trouble); }
   string            Answer(void) const { return(m_answer); }
   // Another status than success that asking again would not change: 400, 404, 422; 0 where there was no such answer.
   int               Send(const string method,const string path,const string body,const int wait=0)
     {
      char   data[];
      char   result[];
      if(body!="")
        {
         // Without the terminating zero, which would make it no JSON.
         int size=StringToCharArray(body,data,0,WHOLE_ARRAY,CP_UTF8);
         ArrayResize(data,size-1);
        }
      m_answer="";
      m_answer_headers="";
      ResetLastError();
      int status=WebRequest(method,m_url+path,m_headers,m_timeout+wait,data,result,m_answer_headers);
      if(status<100 || status>599)
        {
         Failed(ConnectionTrouble(GetLastError()));
         return(0);
        }
      m_answer=CharArrayToString(result,0,WHOLE_ARRAY,CP_UTF8);
      if(IsPassing(status))
        {
         Failed(StatusTrouble(status));
         return(0);
        }
      return(status);
     }
   // The answer to the last request was understood.
   void              Understood(void)
     {
      m_pause=PAUSE_FIRST_MS;
      if(m_trouble!="")
         Print("The platform answers again");
      m_trouble="";
     }
   // It was not.
   void              NotUnderstood(const string path,const int status)
     {
      Failed("The answer to "+path+" makes no sense ("+IntegerToString(status)+"): "+StringSubstr(m_answer,0,EXCERPT_MAX));
     }
   // A header of the last answer, whatever the case of its name; empty where it has none.
   string            Header(const string name) const
     {
      string lines[];
      string wanted=name+":";
      StringToLower(wanted);
      int    count=StringSplit(m_answer_headers,'\n',lines);
      for(int i=0; i<count; i++)
        {
         string line=lines[i];
         StringToLower(line);
         if(StringFind(line,wanted)==0)
           {
            string value=StringSubstr(lines[i],StringLen(wanted));
            StringTrimLeft(value);
            StringTrimRight(value);
            return(value);
           }
        }
      return("");
     }
  };

CPlatform g_platform;
// Reports and figures go their own ways: while they are not taken, signals are all the same.
CPlatform g_reports;
CPlatform g_figures;
#endif
//+------------------------------------------------------------------+
