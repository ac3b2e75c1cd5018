//+------------------------------------------------------------------+
//|                                                      History.mqh |
//| The account's deals, added up, and what happened without a       |
//| signal: fills of resting orders, closings by stops or by hand,   |
//| orders that ended unfilled. Each is in exactly one report.       |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_HISTORY_MQH
#define COMMUNITY_HISTORY_MQH

// Events may be lost: the history is looked at this often anyway.
#define LOOK_EVERY_MS 1000
// Looks are at the last day; at the whole, which may be long, this often, and where something is missing.
#define WHOLE_EVERY_MS 60000
// Deals of a position arrive in any order: how long its opening is waited for.
#define OPENING_WAIT_SECONDS 120
// Deals of earlier runs' last day are looked at again: one of them may have come late.
#define LOOK_BACK_SECONDS 86400

class CHistory
  {
private:
   bool              m_hint;
   ulong             m_looked_at;
   ulong             m_whole_at;
   datetime          m_from;
   // How many of the whole history's deals and orders were taken in, and the last ones.
   int               m_deals;
   ulong             m_last_deal;
   int               m_orders;
   ulong             m_last_order;
   // The last day's beginning, and how many of the whole are before it.
   datetime          m_day;
   int               m_deals_before;
   int               m_orders_before;
   double            m_sum;
   double            m_deposits;
   // Deals and ended orders that are still to be judged.
   CTickets          m_new_deals;
   CTickets          m_new_orders;

   void              AddDeal(const ulong deal)
     {
      ENUM_DEAL_TYPE type=(ENUM_DEAL_TYPE)HistoryDealGetInteger(deal,DEAL_TYPE);
      double         profit=HistoryDealGetDouble(deal,DEAL_PROFIT);
      // Credit is not part of the balance.
      if(type==DEAL_TYPE_CREDIT)
         return;
      if(type==DEAL_TYPE_BALANCE)
         m_deposits+=profit;
      m_sum+=DealNet(deal);
      if((type==DEAL_TYPE_BUY || type==DEAL_TYPE_SELL) && (datetime)HistoryDealGetInteger(deal,DEAL_TIME)>=m_from)
         m_new_deals.Add((long)deal);
     }
   void              AddOrder(const ulong order)
     {
      if((datetime)HistoryOrderGetInteger(order,ORDER_TIME_DONE)>=m_from)
         m_new_orders.Add((long)order);
     }
   // Whether what was taken in is where it was in the selected history, of which so many are left out: it is in order
   // of time, and what is new is at its end, unless something came late.
   bool              IsContinued(const int deals_before,const int orders_before) const
     {
      int deal=m_deals-deals_before,order=m_orders-orders_before;
      return(deal>=0 && deal<=HistoryDealsTotal() && (deal==0 || HistoryDealGetTicket(deal-1)==m_last_deal) &&
             order>=0 && order<=HistoryOrdersTotal() && (order==0 || HistoryOrderGetTicket(order-1)==m_last_order));
     }
   void              AddSelected(const int deals_before,const int orders_before)
     {
      int total=HistoryDealsTotal();
      for(int i=m_deals-deals_before; i<total; i++)
        {
         m_last_deal=HistoryDealGetTicket(i);
         AddDeal(m_last_deal);
        }
      m_deals=deals_before+total;
      total=HistoryOrdersTotal();
      for(int i=m_orders-orders_before; i<total; i++)
        {
         m_last_order=HistoryOrderGetTicket(i);
         AddOrder(m_last_order);
        }
      m_orders=orders_before+total;
     }
   void              Restart(void)
     {
      m_deals=0;
      m_last_deal=0;
      m_orders=0;
      m_last_order=0;
      m_sum=0.0;
      m_deposits=0.0;
     }
   bool              LookAtWhole(void)
     {
      if(!HistorySelect(0,FAR_FUTURE))
         return(false);
      if(!IsContinued(0,0))
         Restart();
      AddSelected(0,0);
      m_day=TimeTradeServer()-LOOK_BACK_SECONDS;
      if(HistorySelect(m_day,FAR_FUTURE))
        {
         m_deals_before=m_deals-HistoryDealsTotal();
         m_orders_before=m_orders-HistoryOrdersTotal();
         m_whole_at=GetTickCount64()+WHOLE_EVERY_MS;
        }
      return(true);
     }

public:
                     CHistory(void) { Start(0); }
   // Deals up to this time were seen to by earlier runs.
   void              Start(const datetime examined)
     {
      m_from=examined>LOOK_BACK_SECONDS ? examined-LOOK_BACK_SECONDS : 0;
      m_hint=true;
      m_looked_at=0;
      m_whole_at=0;
      Restart();
      m_new_deals.Clear();
      m_new_orders.Clear();
     }
   // Something may have happened.
   void              Hint(void) { m_hint=true; }
   // Takes in what is new; false where it is not time for that.
   bool              Look(void)
     {
      ulong now=GetTickCount64();
      if(!m_hint && now<m_looked_at+LOOK_EVERY_MS)
         return(false);
      if(now<m_whole_at && HistorySelect(m_day,FAR_FUTURE) && IsContinued(m_deals_before,m_orders_before))
         AddSelected(m_deals_before,m_orders_before);
      else
         if(!LookAtWhole())
            return(false);
      m_hint=false;
      m_looked_at=now;
      // What does not add up may miss a deal of long ago.
      if(!IsComplete())
         m_whole_at=0;
      return(true);
     }
   // All deals are here: they add up to the balance.
   bool              IsComplete(void) const
     {
      return(IsConnected() && MathAbs(m_sum-AccountInfoDouble(ACCOUNT_BALANCE))<0.5*MathPow(10.0,-(double)AccountInfoInteger(ACCOUNT_CURRENCY_DIGITS)));
     }
   double            Deposits(void) const { return(m_deposits); }
   // Takes what is to be judged.
   void              TakeNew(CTickets &deals,CTickets &orders)
     {
      for(int i=0; i<m_new_deals.Size(); i++)
         deals.Add(m_new_deals.At(i));
      for(int i=0; i<m_new_orders.Size(); i++)
         orders.Add(m_new_orders.At(i));
      m_new_deals.Clear();
      m_new_orders.Clear();
     }
   void              KeepDeal(const long deal) { m_new_deals.Add(deal); }
  };

CHistory g_history;

//+------------------------------------------------------------------+
//| What a selected deal did to the balance.                         |
//+------------------------------------------------------------------+
double DealNet(const ulong deal)
  {
   return(HistoryDealGetDouble(deal,DEAL_PROFIT)+HistoryDealGetDouble(deal,DEAL_SWAP)+
          HistoryDealGetDouble(deal,DEAL_COMMISSION)+HistoryDealGetDouble(deal,DEAL_FEE));
  }
//+------------------------------------------------------------------+
void ReportNews(void)
  {
   // Before the account's numbers are known nothing can be told to be ours.
   if(!g_history.Look() || g_journal.Base()==0)
      return;
   CTickets deals,orders;
   g_history.TakeNew(deals,orders);
   for(int i=0; i<deals.Size(); i++)
      if(!g_journal.IsCovered(deals.At(i)) && !ReportDeal((ulong)deals.At(i)))
         g_history.KeepDeal(deals.At(i));
   for(int i=0; i<orders.Size(); i++)
      if(!g_journal.IsCovered(-orders.At(i)))
         ReportOrder((ulong)orders.At(i));
   if(IsConnected())
      g_journal.Examined(TimeTradeServer());
  }
//+------------------------------------------------------------------+
//| False: it can't be judged yet.                                   |
//+------------------------------------------------------------------+
bool ReportDeal(const ulong deal)
  {
   if(!HistoryDealSelect(deal))
      return(false);
   long             position=HistoryDealGetInteger(deal,DEAL_POSITION_ID);
   datetime         time=(datetime)HistoryDealGetInteger(deal,DEAL_TIME);
   ENUM_DEAL_ENTRY  entry=(ENUM_DEAL_ENTRY)HistoryDealGetInteger(deal,DEAL_ENTRY);
   ENUM_DEAL_REASON reason=(ENUM_DEAL_REASON)HistoryDealGetInteger(deal,DEAL_REASON);
   long             magic=HistoryDealGetInteger(deal,DEAL_MAGIC);
   long             order=HistoryDealGetInteger(deal,DEAL_ORDER);
   long             opened_by=OpeningMagic(position);
   if(opened_by<0)
      return(g_history.IsComplete() && TimeTradeServer()>time+OPENING_WAIT_SECONDS);
   if(!g_journal.IsOurs(opened_by) || !HistoryDealSelect(deal))
      return(true);
   if(entry==DEAL_ENTRY_IN)
     {
      // A market order is told of by its signal's own report, if that is still to come; what comes later is told here.
      bool rested=IsRestingOrder((ulong)order);
      if(!rested && IsReportToCome(magic))
         return(false);
      if(!HistoryDealSelect(deal))
         return(false);
      Report report=NewReport("executed");
      report.id=opened_by%MAGIC_SPAN;
      SetRetcode(report,TRADE_RETCODE_DONE,rested ? "the resting order was filled" : "the order was filled further");
      FillOpening(deal,report);
      Send(report);
      return(true);
     }
   // The closing signal's own report tells of it, if that is still to come.
   bool by_signal=reason==DEAL_REASON_EXPERT && g_journal.IsOurs(magic) && magic!=opened_by;
   if(by_signal && IsReportToCome(magic))
      return(false);
   Report report=NewReport("closed");
   report.id=opened_by%MAGIC_SPAN;
   report.message=by_signal ? "closed by a signal" : ClosingCause(reason);
   FillClosing(deal,report);
   Send(report);
   return(true);
  }
//+------------------------------------------------------------------+
//| Whether this journal has the order's signal and did not report   |
//| it yet.                                                          |
//+------------------------------------------------------------------+
bool IsReportToCome(const long magic)
  {
   int intent=g_journal.FindIntent(magic%MAGIC_SPAN);
   return(intent>=0 && !g_journal.IsReported(intent));
  }
//+------------------------------------------------------------------+
//| Of the deal that opened a position; -1: not here (yet).          |
//+------------------------------------------------------------------+
long OpeningMagic(const long position)
  {
   if(!HistorySelectByPosition(position))
      return(-1);
   int total=HistoryDealsTotal();
   for(int i=0; i<total; i++)
     {
      ulong deal=HistoryDealGetTicket(i);
      if(HistoryDealGetInteger(deal,DEAL_ENTRY)==DEAL_ENTRY_IN)
         return(HistoryDealGetInteger(deal,DEAL_MAGIC));
     }
   return(-1);
  }
//+------------------------------------------------------------------+
bool IsRestingOrder(const ulong order)
  {
   if(OrderSelect(order))
      return(IsRestingType(OrderGetInteger(ORDER_TYPE)));
   return(HistoryOrderSelect(order) && IsRestingType(HistoryOrderGetInteger(order,ORDER_TYPE)));
  }
//+------------------------------------------------------------------+
bool IsRestingType(const long type)
  {
   return(type!=ORDER_TYPE_BUY && type!=ORDER_TYPE_SELL);
  }
//+------------------------------------------------------------------+
string ClosingCause(const ENUM_DEAL_REASON reason)
  {
   switch(reason)
     {
      case DEAL_REASON_SL:
         return("stop loss");
      case DEAL_REASON_TP:
         return("take profit");
      case DEAL_REASON_SO:
         return("stop out");
      case DEAL_REASON_EXPERT:
         return("closed by another program");
      case DEAL_REASON_CLIENT:
      case DEAL_REASON_MOBILE:
      case DEAL_REASON_WEB:
         return("closed by hand");
     }
   return("closed by the broker");
  }
//+------------------------------------------------------------------+
//| The figures of a selected opening deal.                          |
//+------------------------------------------------------------------+
void FillOpening(const ulong deal,Report &report)
  {
   string symbol=HistoryDealGetString(deal,DEAL_SYMBOL);
   report.symbol=PlatformSymbol(symbol);
   report.digits=PriceDigits(symbol);
   report.action=HistoryDealGetInteger(deal,DEAL_TYPE)==DEAL_TYPE_BUY ? "BUY" : "SELL";
   report.position=HistoryDealGetInteger(deal,DEAL_POSITION_ID);
   report.ticket=report.position;
   report.order=HistoryDealGetInteger(deal,DEAL_ORDER);
   report.deal=(long)deal;
   report.has_volume=true;
   report.volume=HistoryDealGetDouble(deal,DEAL_VOLUME);
   report.price=HistoryDealGetDouble(deal,DEAL_PRICE);
   AddCover(report,(long)deal);
  }
//+------------------------------------------------------------------+
//| The figures of a selected closing deal.                          |
//+------------------------------------------------------------------+
void FillClosing(const ulong deal,Report &report)
  {
   string symbol=HistoryDealGetString(deal,DEAL_SYMBOL);
   report.symbol=PlatformSymbol(symbol);
   report.digits=PriceDigits(symbol);
   report.action="CLOSE";
   report.position=HistoryDealGetInteger(deal,DEAL_POSITION_ID);
   report.ticket=report.position;
   report.order=HistoryDealGetInteger(deal,DEAL_ORDER);
   report.deal=(long)deal;
   report.has_volume=true;
   report.volume=HistoryDealGetDouble(deal,DEAL_VOLUME);
   report.price=HistoryDealGetDouble(deal,DEAL_PRICE);
   report.close_price=report.price;
   report.has_profit=true;
   report.profit=DealNet(deal);
   AddCover(report,(long)deal);
  }
//+------------------------------------------------------------------+
//| A resting order of ours that ended unfilled.                     |
//+------------------------------------------------------------------+
void ReportOrder(const ulong order)
  {
   if(!HistoryOrderSelect(order))
      return;
   long   magic=HistoryOrderGetInteger(order,ORDER_MAGIC);
   long   state=HistoryOrderGetInteger(order,ORDER_STATE);
   double left=HistoryOrderGetDouble(order,ORDER_VOLUME_CURRENT);
   if(!g_journal.IsOurs(magic) || !IsRestingType(HistoryOrderGetInteger(order,ORDER_TYPE)) ||
      left<HistoryOrderGetDouble(order,ORDER_VOLUME_INITIAL))
      return;
   Report report=NewReport("closed");
   if(state==ORDER_STATE_EXPIRED)
      report.message="order expired";
   else
      report.message=state==ORDER_STATE_REJECTED ? "order rejected when its price was reached" : "order deleted";
   report.id=magic%MAGIC_SPAN;
   report.action="CLOSE";
   report.symbol=PlatformSymbol(HistoryOrderGetString(order,ORDER_SYMBOL));
   report.ticket=(long)order;
   report.order=(long)order;
   report.has_volume=true;
   AddCover(report,-(long)order);
   Send(report);
  }
#endif
//+------------------------------------------------------------------+
