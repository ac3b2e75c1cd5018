//+------------------------------------------------------------------+
//|                                                       LookUp.mqh |
//| Looks up what became of orders whose outcome nobody knows. What  |
//| is found is told at once. "Never sent" is said only of a claim   |
//| in this journal without an order send, and of one of this run    |
//| that never arrived; "not found" only after a whole history was   |
//| searched for as long as the grace lasts; all else is silence.    |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_LOOKUP_MQH
#define COMMUNITY_LOOKUP_MQH

// Own orders without an answer are looked for this often, the newest ones; ever less while nothing changes.
#define OWN_EVERY_MS 1000
#define OWN_LAST_MS  60000
#define OWN_MAX      50
// A pause between two looks that is longer may have hidden a lost connection.
#define GAP_MS       3000

// Since when an unknown outcome is being looked up without a gap.
struct Search
  {
   long              id;
   int               attempt;
   ulong             since;
  };

Search g_searches[];
bool   g_resolved=false;        // the first question for unknown outcomes was answered
ulong  g_resolve_at=0;
ulong  g_own_at=0;
ulong  g_own_pause=OWN_EVERY_MS;
int    g_own_known=0;           // intents at the last look
// The last moment of which it is known that something of the history was missing, and the last look at that.
ulong  g_gap_at=0;
ulong  g_watched_at=0;

//+------------------------------------------------------------------+
//| Nothing is called missing that a gap may have hidden: a lost     |
//| connection, a history that does not add up, a thread that stood. |
//+------------------------------------------------------------------+
void WatchGaps(void)
  {
   ulong now=GetTickCount64();
   if(!g_history.IsComplete() || now>g_watched_at+GAP_MS+(ulong)InpWaitMs)
      g_gap_at=now;
   g_watched_at=now;
  }
//+------------------------------------------------------------------+
//| Variables outlive a change of the account.                       |
//+------------------------------------------------------------------+
void StartLookUps(void)
  {
   ArrayResize(g_searches,0);
   g_resolved=false;
   g_resolve_at=0;
   g_own_at=0;
   g_own_known=0;
   g_gap_at=0;
   g_watched_at=0;
  }
//+------------------------------------------------------------------+
//| What this journal began and nobody told of: at start before      |
//| anything else, then as long as an answer of the broker is out.   |
//+------------------------------------------------------------------+
void ResolveOwn(void)
  {
   ulong now=GetTickCount64();
   if(g_own_known!=g_journal.Intents())
     {
      g_own_known=g_journal.Intents();
      g_own_pause=OWN_EVERY_MS;
      g_own_at=MathMin(g_own_at,now+OWN_EVERY_MS);
     }
   if(now<g_own_at)
      return;
   g_own_at=now+g_own_pause;
   g_own_pause=MathMin(2*g_own_pause,(ulong)OWN_LAST_MS);
   for(int i=MathMax(0,g_journal.Intents()-OWN_MAX); i<g_journal.Intents(); i++)
     {
      if(g_journal.IsReported(i))
         continue;
      // The journal is believed only where the broker does not know better.
      Report report=NewReport("not_sent");
      report.message="the terminal ended before the order was sent";
      bool found=FindOpening(g_journal.IntentMagic(i),report);
      if(!found)
        {
         int closings=FindClosings(g_journal.IntentMagic(i),report);
         // Some of several: the rest may still come, and else is told of once the platform asks.
         if(closings>0 && closings<g_journal.Orders(i))
            continue;
         found=closings>0;
        }
      if(!found && g_journal.WasSent(i))
         continue;
      report.id=g_journal.IntentId(i);
      report.attempt=g_journal.IntentAttempt(i);
      Send(report);
     }
  }
//+------------------------------------------------------------------+
//| Who asks: this installation, this run of it, this account.       |
//+------------------------------------------------------------------+
string Asker(void)
  {
   return(StringFormat("protocol=2&terminal=%s&session=%s&login=%I64d",g_journal.Terminal(),g_journal.Session(),AccountInfoInteger(ACCOUNT_LOGIN)));
  }
//+------------------------------------------------------------------+
//| Asks the platform which outcomes it does not know.               |
//+------------------------------------------------------------------+
void ResolveUnknown(void)
  {
   if(GetTickCount64()<g_resolve_at || !g_platform.IsReady())
      return;
   // Once it was answered, polls don't wait for it.
   if(g_resolved)
      g_resolve_at=GetTickCount64()+(ulong)InpUnresolvedSeconds*1000;
   string      path="/api/signals/unresolved";
   CJsonReader json;
   int         status=g_platform.Send("GET",path+"?"+Asker(),"");
   if(status==0)
     {
      // Else this question alone would be asked for as long as it fails, and no poll made.
      if(g_resolved)
         g_resolve_at=GetTickCount64()+(ulong)InpUnresolvedSeconds*1000;
      return;
     }
   if(status!=200 || StringFind(g_platform.Answer(),"[")!=0 || !json.Parse(g_platform.Answer()))
     {
      g_platform.NotUnderstood(path,status);
      return;
     }
   g_platform.Understood();
   string mode=g_platform.Header("X-Account-Mode");
   g_resolve_at=GetTickCount64()+(ulong)InpUnresolvedSeconds*1000;
   ForgetSearches(json);
   for(int i=0; i<json.Count(); i++)
     {
      Signal signal;
      if(!ReadClaim(json,i,signal))
         continue;
      if(g_journal.Base()==0)
         g_journal.SetBase(signal.magic/MAGIC_SPAN);
      Resolve(signal,json.Text(i,"session")==g_journal.Session());
     }
   g_resolved=true;
   Obey(mode);
  }
//| In memory is every claim of this very run that arrived: no       |
//| answer is waited for any more while this is asked.               |
//+------------------------------------------------------------------+
void Resolve(const Signal &signal,const bool of_this_run)
  {
   if(g_journal.IsWaiting(signal.id))
      return; // its report is on the way
   Report report;
   if(FindOutcome(signal,report))
     {
      Send(report);
      return;
     }
   int intent=g_journal.FindIntent(signal.id);
   if(intent>=0 && g_journal.IntentAttempt(intent)==signal.attempt && !g_journal.WasSent(intent))
     {
      Answer(signal,"not_sent","OrderSend was never called");
      return;
     }
   if(of_this_run && (intent<0 || !g_journal.WasSent(intent)))
     {
      Answer(signal,"not_sent","the answer that handed it out never arrived");
      return;
     }
   // An order that the broker is still working on may become a deal at any time.
   if(IsAtWork(signal.magic))
      g_gap_at=GetTickCount64();
   ulong since=MathMax(SearchedSince(signal.id,signal.attempt),g_gap_at);
   if(!g_history.IsComplete() || GetTickCount64()-since<(ulong)InpGraceSeconds*1000)
      return;
   if(IsNothingLeft(signal))
      Answer(signal,"executed","nothing of it is left");
   else
      Answer(signal,"not_found","not in positions, orders and the whole history");
  }
//+------------------------------------------------------------------+
//| Whether an order with this magic number stands at the broker.    |
//+------------------------------------------------------------------+
bool IsAtWork(const long magic)
  {
   for(int i=OrdersTotal()-1; i>=0; i--)
      if(OrderGetTicket(i)>0 && OrderGetInteger(ORDER_MAGIC)==magic)
         return(true);
   return(false);
  }
//+------------------------------------------------------------------+
//| Since when this one is looked for.                               |
//+------------------------------------------------------------------+
ulong SearchedSince(const long id,const int attempt)
  {
   int count=ArraySize(g_searches);
   int at=0;
   while(at<count && (g_searches[at].id!=id || g_searches[at].attempt!=attempt))
      at++;
   if(at==count)
     {
      ArrayResize(g_searches,count+1);
      g_searches[at].id=id;
      g_searches[at].attempt=attempt;
      g_searches[at].since=GetTickCount64();
     }
   return(g_searches[at].since);
  }
//+------------------------------------------------------------------+
//| Those that are not asked for any more.                           |
//+------------------------------------------------------------------+
void ForgetSearches(const CJsonReader &json)
  {
   int kept=0;
   for(int i=0; i<ArraySize(g_searches); i++)
     {
      bool listed=false;
      for(int j=0; j<json.Count() && !listed; j++)
         listed=json.Integer(j,"id")==g_searches[i].id && json.Integer(j,"attempt")==g_searches[i].attempt;
      if(listed)
        {
         g_searches[kept]=g_searches[i];
         kept++;
        }
     }
   ArrayResize(g_searches,kept);
  }
#endif
//+------------------------------------------------------------------+
