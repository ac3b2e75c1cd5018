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
#include <Community\Json.mqh>
#include <Community\Platform.mqh>
#include <Community\Tickets.mqh>
#include <Community\Journal.mqh>
#include <Community\Symbols.mqh>
#include <Community\Signal.mqh>
#include <Community\Report.mqh>
#include <Community\History.mqh>
#include <Community\LookUp.mqh>
#include <Community\Orders.mqh>
#include <Community\Opening.mqh>
#include <Community\Closing.mqh>
#include <Community\Account.mqh>
#include <Community\Poll.mqh>

// How long one timer event may go on while there is something to do; others wait for it.
#define TURN_MS 2000

// The account is known, and the journal is open.
bool g_begun=false;

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
   // A terminal that has just started does not know its account yet: the timer begins once it does.
   if(IsConnected() && !Begin())
      return(INIT_FAILED);
   if(!EventSetMillisecondTimer(InpTimerMs))
     {
      Alert("CommunityTrader can't start: no timer, error ",GetLastError());
      return(INIT_FAILED);
     }
   if(!g_begun)
      Print("Waiting for the connection to the broker");
   return(INIT_SUCCEEDED);
  }
//+------------------------------------------------------------------+
//| False, told in plain words, where nothing may be traded here.    |
//+------------------------------------------------------------------+
bool Begin(void)
  {
   long login=AccountInfoInteger(ACCOUNT_LOGIN);
   if(AccountInfoInteger(ACCOUNT_MARGIN_MODE)!=ACCOUNT_MARGIN_MODE_RETAIL_HEDGING)
     {
      Alert("CommunityTrader can't start: this is a netting account, which merges the positions of all signals of a symbol; "
            "it needs a hedging account");
      return(false);
     }
   if(!g_journal.Open(login))
      return(false);
   g_platform.Init(InpUrl,InpKey,InpTimeoutMs);
   g_history.Start(g_journal.ExaminedUntil());
   g_account.Start();
   StartLookUps();
   g_begun=true;
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
   if(!g_begun && (!IsConnected() || AccountInfoInteger(ACCOUNT_LOGIN)==0))
      return;
   if(!g_begun && !Begin())
     {
      ExpertRemove();
      return;
     }
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
   ResolveOwn();
   ResolveUnknown();
   ReportNews();
   DeliverReports();
   g_account.Update();
   return(Poll());
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
