//+------------------------------------------------------------------+
//|                                                      Account.mqh |
//| The account's figures, told when they change and every few       |
//| seconds, and obedience to the mode that is answered. A report is |
//| never sent again: the next one says the same, or better.         |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_ACCOUNT_MQH
#define COMMUNITY_ACCOUNT_MQH

// Prices change the equity all the time: that alone is told this often at most.
#define FIGURES_EVERY_MS 1000
// Many trades in a row are told together: telling must not keep the next signal waiting.
#define TRADES_EVERY_MS  250
// After a refused deletion of a resting order.
#define DELETION_PAUSE_MS 30000

class CAccount
  {
private:
   long              m_seq;
   string            m_told;
   string            m_told_trades;
   ulong             m_told_at;
   long              m_tick_time;
   ulong             m_tick_at;

   // The age of the last quote on this machine's own clock: the broker's stands still with the quotes.
   long              TickAge(void)
     {
      MqlTick tick;
      if(SymbolInfoTick(_Symbol,tick) && tick.time_msc!=m_tick_time)
        {
         m_tick_time=tick.time_msc;
         m_tick_at=GetTickCount64();
        }
      return((long)(GetTickCount64()-m_tick_at));
     }
   string            Money(const double amount) const
     {
      return(DoubleToString(amount,(int)AccountInfoInteger(ACCOUNT_CURRENCY_DIGITS)));
     }
   // What changes by trading and by hand, as opposed to what moves with the prices.
   string            Trades(void) const
     {
      return(StringFormat("%s %d %d %d %d",Money(AccountInfoDouble(ACCOUNT_BALANCE)),PositionsTotal(),OrdersTotal(),
                          (int)IsConnected(),(int)IsTradingPermitted()));
     }
   string            Figures(void) const
     {
      CJsonWriter json;
      json.Raw("balance",Money(AccountInfoDouble(ACCOUNT_BALANCE)));
      json.Raw("equity",Money(AccountInfoDouble(ACCOUNT_EQUITY)));
      json.Raw("margin",Money(AccountInfoDouble(ACCOUNT_MARGIN)));
      json.Raw("free_margin",Money(AccountInfoDouble(ACCOUNT_MARGIN_FREE)));
      json.Raw("profit",Money(AccountInfoDouble(ACCOUNT_PROFIT)));
      json.Raw("credit",Money(AccountInfoDouble(ACCOUNT_CREDIT)));
      json.Raw("net_deposits",g_history.IsComplete() ? Money(g_history.Deposits()) : "null");
      json.Integer("login",AccountInfoInteger(ACCOUNT_LOGIN));
      json.Text("currency",AccountInfoString(ACCOUNT_CURRENCY));
      json.Integer("open_positions",PositionsTotal());
      json.Flag("connected",IsConnected());
      json.Flag("trade_allowed",IsTradingPermitted());
      json.Text("terminal",g_journal.Terminal());
      json.Text("session",g_journal.Session());
      string object=json.Object();
      return(StringSubstr(object,0,StringLen(object)-1));
     }

public:
                     CAccount(void) { Start(); }
   void              Start(void)
     {
      m_seq=0;
      m_told="";
      m_told_trades="";
      m_told_at=0;
      m_tick_time=0;
      m_tick_at=GetTickCount64();
     }
   void              Update(void)
     {
      long   age=TickAge();
      ulong  since=GetTickCount64()-m_told_at;
      string trades=Trades();
      if(!g_figures.IsReady() || (m_told_at>0 && since<(ulong)(trades==m_told_trades ? FIGURES_EVERY_MS : TRADES_EVERY_MS)))
         return;
      string figures=Figures();
      if(m_told_at>0 && figures==m_told && since<(ulong)InpUpdateSeconds*1000)
         return;
      m_seq++;
      string path="/api/account/update";
      string body=figures+StringFormat(",\"seq\":%I64d,\"age_ms\":0,\"tick_age_ms\":%I64d}",m_seq,age);
      m_told_at=GetTickCount64();
      int    status=g_figures.Send("POST",path,body);
      if(status==0)
         return;
      CJsonReader json;
      if(status!=200 || !json.Parse(g_figures.Answer()))
        {
         g_figures.NotUnderstood(path,status);
         return;
        }
      g_figures.Understood();
      m_told=figures;
      m_told_trades=trades;
      if(json.Integer(0,"magic_base")>0)
         g_journal.SetBase(json.Integer(0,"magic_base"));
      Obey(json.Text(0,"mode"));
     }
  };

CAccount g_account;
ulong    g_deletions_at=0;
string   g_mode="";
string   g_permissions="";

//+------------------------------------------------------------------+
//| Unless everything is handed out, no order of ours that would     |
//| open may rest at the broker.                                     |
//+------------------------------------------------------------------+
void Obey(const string mode)
  {
   if(mode!=g_mode && mode!="")
     {
      PrintFormat("The account is %s",mode);
      g_mode=mode;
     }
   if((mode!="reducing" && mode!="halted") || !IsConnected() || !IsTradingPermitted() || GetTickCount64()<g_deletions_at)
      return;
   for(int i=OrdersTotal()-1; i>=0; i--)
     {
      ulong ticket=OrderGetTicket(i);
      if(ticket==0 || !g_journal.IsOurs(OrderGetInteger(ORDER_MAGIC)) || !IsRestingType(OrderGetInteger(ORDER_TYPE)))
         continue;
      MqlTradeRequest request=Deletion(ticket,OrderGetString(ORDER_SYMBOL));
      MqlTradeResult  result= {};
      bool            sent=OrderSend(request,result);
      bool            deleted=sent && IsDone(result.retcode);
      g_history.Hint();
      PrintFormat("The account is %s: resting order %I64u %s, retcode %u",mode,ticket,deleted ? "deleted" : "could not be deleted",result.retcode);
      // A closed market refuses for days.
      if(!deleted)
         g_deletions_at=GetTickCount64()+DELETION_PAUSE_MS;
     }
  }
//+------------------------------------------------------------------+
//| What keeps it from trading, for a person; empty: nothing.        |
//+------------------------------------------------------------------+
string MissingPermission(void)
  {
   if(!IsConnected())
      return("No connection to the broker");
   if(TerminalInfoInteger(TERMINAL_TRADE_ALLOWED)==0)
      return("Algo Trading is switched off: press the button Algo Trading in the terminal's toolbar");
   if(MQLInfoInteger(MQL_TRADE_ALLOWED)==0)
      return("This Expert Advisor may not trade: press F7 on the chart, Common, Allow Algo Trading");
   if(AccountInfoInteger(ACCOUNT_TRADE_ALLOWED)==0)
      return("This account may not trade: it was opened with the investor's password, or the broker has disabled it");
   if(AccountInfoInteger(ACCOUNT_TRADE_EXPERT)==0)
      return("The broker does not let Expert Advisors trade on this account");
   if(!g_journal.IsSound())
      return("The journal can't be written: nothing is executed");
   return("");
  }
//+------------------------------------------------------------------+
void WatchPermissions(void)
  {
   string missing=MissingPermission();
   if(missing==g_permissions)
      return;
   g_permissions=missing;
   if(missing=="")
      Print("Connected, and allowed to trade");
   else
      Alert(missing,". Signals wait at the platform until that is mended, or expire");
  }
//+------------------------------------------------------------------+
//| What the chart shows.                                            |
//+------------------------------------------------------------------+
void ShowState(void)
  {
   static ulong shown_at=0;
   if(GetTickCount64()<shown_at+1000)
      return;
   shown_at=GetTickCount64();
   Comment("CommunityTrader, account ",(g_mode=="" ? "not known yet" : g_mode),
           "\nbroker: ",(g_permissions=="" ? "connected, trading allowed" : g_permissions),
           "\nplatform: ",(g_platform.Trouble()=="" ? "answers" : g_platform.Trouble()),
           "\nreports waiting: ",g_journal.Waiting());
  }
#endif
//+------------------------------------------------------------------+
