//+------------------------------------------------------------------+
//|                                                         Poll.mqh |
//| Asks for signals, writes the claims down, then executes them in  |
//| their order. What the journal already knows is never executed    |
//| again, whatever is offered.                                      |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_POLL_MQH
#define COMMUNITY_POLL_MQH

#define POLL_LIMIT 10
// While nothing can be executed, it only shows that it is there.
#define IDLE_EVERY_MS 1000

ulong g_idle_until=0;

//+------------------------------------------------------------------+
//| True: there may be more at once.                                 |
//+------------------------------------------------------------------+
bool Poll(void)
  {
   // What became of earlier signals comes first.
   if(!g_resolved || !g_platform.IsReady())
      return(false);
   bool able=MissingPermission()=="";
   if(!able && GetTickCount64()<g_idle_until)
      return(false);
   g_idle_until=GetTickCount64()+IDLE_EVERY_MS;
   int    wait=able ? InpWaitMs : 0;
   string path="/api/signals/pending";
   ulong  asked_at=GetTickCount64();
   int    status=g_platform.Send("GET",path+StringFormat("?limit=%d&wait_ms=%d&",able ? POLL_LIMIT : 0,wait)+Asker(),"",wait);
   if(status==0)
      return(false);
   CJsonReader json;
   if(status!=200 || StringFind(g_platform.Answer(),"[")!=0 || !json.Parse(g_platform.Answer()))
     {
      g_platform.NotUnderstood(path,status);
      return(false);
     }
   g_platform.Understood();
   if(json.Count()>0)
      Take(json,asked_at);
   // A platform that does not hold the poll must not be flooded.
   return(json.Count()>0 || (wait>0 && GetTickCount64()-asked_at>=(ulong)wait/2));
  }
//+------------------------------------------------------------------+
void Take(const CJsonReader &json,const ulong asked_at)
  {
   Signal signals[];
   int    count=0;
   ArrayResize(signals,json.Count());
   for(int i=0; i<json.Count(); i++)
     {
      if(!ReadClaim(json,i,signals[count]))
        {
         Print("A signal that makes no sense is left alone: ",json.Text(i,"signal_id"));
         continue;
        }
      ReadSignal(json,i,asked_at,signals[count]);
      if(IsNew(signals[count]))
         count++;
     }
   bool written=true;
   for(int i=0; i<count; i++)
      written=g_journal.Claimed(signals[i].id,signals[i].magic,signals[i].attempt) && written;
   written=g_journal.Flush() && written;
   for(int i=0; i<count; i++)
     {
      // Also what was lost while the poll was held: what can't be sent now is given back, not failed.
      string obstacle=IsStopped() ? "the terminal is stopping" : MissingPermission();
      if(!written)
         obstacle="the journal can't be written";
      if(obstacle!="")
         Answer(signals[i],"not_sent",obstacle);
      else
         Execute(signals[i]);
     }
  }
//+------------------------------------------------------------------+
//| Whether this claim is one that was never dealt with.             |
//+------------------------------------------------------------------+
bool IsNew(const Signal &signal)
  {
   int intent=g_journal.FindIntent(signal.id);
   if(intent<0 || (!g_journal.WasSent(intent) && g_journal.IntentAttempt(intent)<signal.attempt))
      return(true);
   // Its fate is in the journal or at the broker; the look-up of unknown outcomes brings it to light.
   PrintFormat("#%I64d was handed out again (attempt %d) and is not executed again",signal.id,signal.attempt);
   return(false);
  }
//+------------------------------------------------------------------+
void Execute(const Signal &signal)
  {
   for(int i=0; i<ArraySize(signal.after); i++)
     {
      Report report=NewReport("executed");
      if(FindOpening(signal.magic-signal.id+signal.after[i],report))
        {
         report.id=signal.after[i];
         Send(report);
        }
     }
   string overdue=Overdue(signal);
   if(overdue!="")
     {
      Answer(signal,"not_sent",overdue);
      return;
     }
   if(IsOpening(signal))
      Open(signal);
   else if(signal.action=="CLOSE" || signal.action=="CLOSE_ALL")
      Close(signal);
   else if(signal.action=="MODIFY")
      Modify(signal);
   else if(signal.action=="PING")
      Answer(signal,"executed");
   else
      Refuse(signal,TRADE_RETCODE_INVALID,"this Expert Advisor knows no action "+signal.action);
  }
#endif
//+------------------------------------------------------------------+
