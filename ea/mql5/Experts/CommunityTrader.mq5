//+------------------------------------------------------------------+
//|                                              CommunityTrader.mq5 |
//| Takes a community's signals, trades each at most once, and tells |
//| the platform what became of it.                                  |
//|                                                                  |
//| Invariant: OrderSend is called for a signal in one attempt only, |
//| after the journal says so, and never again while its outcome is  |
//| unknown.                                                         |
//+------------------------------------------------------------------+
#property copyright   "mt5-community contributors"
#property link        "http://127.0.0.1"
#property version     "1.00"
#property description "Trades the signals of a community's platform, each at most once."
#property description "Tools > Options > Expert Advisors: allow WebRequest for the platform's address."

input group    "Platform"
input string   InpUrl="http://127.0.0.1";   // Address of the platform, or of its relay on this machine
input string   InpKey="";                   // The terminal's key; empty behind the relay, which adds it
input int      InpWaitMs=1000;              // How long the platform may hold a poll; 0 behind the relay
input int      InpTimerMs=25;               // Pause between polls that are not held, in milliseconds
input int      InpTimeoutMs=5000;           // How long an answer may take, in milliseconds
input group    "Limits that no signal can lift"
input double   InpVolumeMax=10.0;           // Largest order, in lots
input int      InpPositionsMax=200;         // Most positions and resting orders of the community
input string   InpSymbolsAllowed="";        // Symbols of the platform, separated by commas; empty: all
input int      InpSlippagePoints=50;        // Largest slippage in points, where a signal names none
input group    "Names of symbols at this broker"
input string   InpSymbolPrefix="";          // Put before the platform's name
input string   InpSymbolSuffix="";          // Put after it, such as .r
input string   InpSymbolMap="";             // Exceptions: XAUUSD=GOLD,US30=DJ30
input group    "Timing"
input int      InpUpdateSeconds=5;          // Longest pause between account reports
input int      InpUnresolvedSeconds=3;      // Pause between look-ups of unknown outcomes
input int      InpGraceSeconds=30;          // How long to look before an order counts as not found

#include <Community\Words.mqh>
#include <Community\JsonReader.mqh>
#include <Community\JsonWriter.mqh>
#include <Community\Platform.mqh>
#include <Community\Tickets.mqh>
#include <Community\Intents.mqh>
#include <Community\Waiting.mqh>
#include <Community\Journal.mqh>
#include <Community\Symbols.mqh>
#include <Community\Signal.mqh>
#include <Community\Report.mqh>
#include <Community\History.mqh>
#include <Community\News.mqh>
#include <Community\Targets.mqh>
#include <Community\Outcome.mqh>
#include <Community\LookUp.mqh>
#include <Community\Orders.mqh>
#include <Community\Opening.mqh>
#include <Community\Closing.mqh>
#include <Community\Modifying.mqh>
#include <Community\Account.mqh>
#include <Community\Poll.mqh>

// How long one timer event may go on while there is something to do; others wait for it.
#define TURN_MS 5000

// The account is known, and the journal is open.
bool  g_begun=false;
long  g_login=0;
// Since when the account is known; 0: it is not.
ulong g_known_at=0;

// An account that says for so long that it is no hedging account is none.
#define NETTING_AFTER_MS 5000

//+------------------------------------------------------------------+
int OnInit(void)
  {
   string fault=SettingsFault();
   if(fault!="")
     {
      Alert("CommunityTrader can't start: ",fault);
      return(INIT_PARAMETERS_INCORRECT);
     }
   g_begun=false;
   g_known_at=0;
   if(!EventSetMillisecondTimer(InpTimerMs))
     {
      Alert("CommunityTrader can't start: no timer, error ",GetLastError());
      return(INIT_FAILED);
     }
   // A terminal that has just started does not know its account yet: the timer begins once it does.
   if(!IsAccountKnown())
      Print("Waiting for the connection to the broker");
   return(INIT_SUCCEEDED);
  }
//+------------------------------------------------------------------+
bool IsAccountKnown(void)
  {
   return(IsConnected() && AccountInfoInteger(ACCOUNT_LOGIN)>0 && AccountInfoString(ACCOUNT_CURRENCY)!="" && TimeTradeServer()>0);
  }
//+------------------------------------------------------------------+
//| Begins once the account is known; ends where it may not trade.   |
//+------------------------------------------------------------------+
void TryToBegin(void)
  {
   if(!IsAccountKnown())
     {
      g_known_at=0;
      return;
     }
   if(g_known_at==0)
      g_known_at=GetTickCount64();
   // The type of an account may be known a little later than the rest.
   bool netting=AccountInfoInteger(ACCOUNT_MARGIN_MODE)!=ACCOUNT_MARGIN_MODE_RETAIL_HEDGING;
   if(netting && GetTickCount64()<g_known_at+NETTING_AFTER_MS)
      return;
   if(!Begin(netting))
     {
      EventKillTimer();
      ExpertRemove();
     }
  }
//+------------------------------------------------------------------+
//| False, told in plain words, where nothing may be traded here.    |
//+------------------------------------------------------------------+
bool Begin(const bool netting)
  {
   long login=AccountInfoInteger(ACCOUNT_LOGIN);
   if(netting)
     {
      Alert("CommunityTrader can't start: this is a netting account, which merges the positions of all signals of a symbol; "
            "it needs a hedging account");
      return(false);
     }
   if(!g_journal.Open(login))
      return(false);
   g_platform.Init(InpUrl,InpKey,InpTimeoutMs);
   g_reports.Init(InpUrl,InpKey,InpTimeoutMs);
   g_figures.Init(InpUrl,InpKey,InpTimeoutMs);
   g_history.Start(g_journal.ExaminedUntil());
   g_account.Start();
   StartLookUps();
   g_begun=true;
   g_login=login;
   PrintFormat("Started: account %I64d, installation %s, platform %s",login,g_journal.Terminal(),InpUrl);
   return(true);
  }
//+------------------------------------------------------------------+
void OnDeinit(const int reason)
  {
   EventKillTimer();
   // What is known should be told, as far as the terminal leaves time for it; the rest waits in the journal.
   if(g_journal.IsOpen())
      DeliverReports();
   g_journal.Close();
   Comment("");
   Print("Stopped, reason ",reason);
  }
//+------------------------------------------------------------------+
//| Prices may stand still for days: everything hangs on the timer.  |
//+------------------------------------------------------------------+
void OnTimer(void)
  {
   if(!g_begun)
     {
      TryToBegin();
      return;
     }
   // The terminal has gone over to another account: it starts this program anew there.
   if(AccountInfoInteger(ACCOUNT_LOGIN)!=g_login)
      return;
   ulong until=GetTickCount64()+TURN_MS;
   bool  busy=true;
   while(busy && !IsStopped() && GetTickCount64()<until)
      busy=Turn();
   ShowState();
  }
//+------------------------------------------------------------------+
//| Only a hint that something happened: the history is the truth.   |
//+------------------------------------------------------------------+
void OnTradeTransaction(const MqlTradeTransaction &transaction,const MqlTradeRequest &request,const MqlTradeResult &result)
  {
   g_history.Hint();
  }
//+------------------------------------------------------------------+
//| One round; true: there may be more to do at once.                |
//+------------------------------------------------------------------+
bool Turn(void)
  {
   WatchPermissions();
   WatchGaps();
   ResolveOwn();
   ResolveUnknown();
   ReportNews();
   DeliverReports();
   bool more=Poll();
   g_account.Update();
   return(more);
  }
//+------------------------------------------------------------------+
//| What is wrong with the inputs; empty: nothing.                   |
//+------------------------------------------------------------------+
string SettingsFault(void)
  {
   if(StringFind(InpUrl,"http://")!=0 && StringFind(InpUrl,"https://")!=0)
      return("InpUrl is the address of the platform, such as http://127.0.0.1");
   if(StringFind(InpKey," ")>=0 || StringFind(InpKey,"\r")>=0 || StringFind(InpKey,"\n")>=0)
      return("InpKey holds a space or a line break");
   if(InpWaitMs<0 || InpWaitMs>25000)
      return("InpWaitMs is between 0 and 25000");
   if(InpTimerMs<10 || InpTimerMs>1000)
      return("InpTimerMs is between 10 and 1000");
   if(InpTimeoutMs<500)
      return("InpTimeoutMs is at least 500");
   if(InpVolumeMax<=0.0 || InpPositionsMax<1)
      return("InpVolumeMax and InpPositionsMax are above zero");
   if(InpSlippagePoints<0)
      return("InpSlippagePoints is not negative");
   if(InpUpdateSeconds<1 || InpUnresolvedSeconds<1 || InpGraceSeconds<1)
      return("the times are at least one second");
   return(SymbolMapFault(InpSymbolMap));
  }
//+------------------------------------------------------------------+
