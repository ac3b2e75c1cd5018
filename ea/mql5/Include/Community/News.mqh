//+------------------------------------------------------------------+
//|                                                         News.mqh |
//| What happened without a signal: fills of resting orders, closings|
//| by stops or by hand, orders that ended unfilled. Each is in      |
//| exactly one report.                                              |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_NEWS_MQH
#define COMMUNITY_NEWS_MQH

// Deals of a position arrive in any order: how long its opening is waited for.
#define OPENING_WAIT_SECONDS 120
// How long a deal waits to be told by the report of its own signal.
#define REPORT_WAIT_SECONDS 900

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
      if(!g_journal.IsCovered(-orders.At(i)) && !ReportOrder((ulong)orders.At(i)))
         g_history.KeepOrder(orders.At(i));
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
   if(!g_journal.IsOurs(opened_by))
      return(true);
   if(!HistoryDealSelect(deal))
      return(false);
   // For a signal's own report is waited no longer than it can be on its way.
   bool may_come=IsReportToCome(magic) && TimeTradeServer()<=time+REPORT_WAIT_SECONDS;
   if(entry==DEAL_ENTRY_IN)
     {
      // A market order is told of by its signal's own report, if that is still to come; what comes later is told here.
      bool rested=IsRestingOrder((ulong)order);
      if(!rested && may_come)
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
   if(by_signal && may_come)
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
   // What opening cost.
   report.has_profit=true;
   report.profit=DealNet(deal);
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
//| A resting order of ours that ended unfilled. False: it can't be  |
//| judged yet.                                                      |
//+------------------------------------------------------------------+
bool ReportOrder(const ulong order)
  {
   if(!HistoryOrderSelect(order))
      return(false);
   long   magic=HistoryOrderGetInteger(order,ORDER_MAGIC);
   long   state=HistoryOrderGetInteger(order,ORDER_STATE);
   double left=HistoryOrderGetDouble(order,ORDER_VOLUME_CURRENT);
   if(!g_journal.IsOurs(magic) || !IsRestingType(HistoryOrderGetInteger(order,ORDER_TYPE)) ||
      left<HistoryOrderGetDouble(order,ORDER_VOLUME_INITIAL))
      return(true);
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
   return(true);
  }
#endif
//+------------------------------------------------------------------+
