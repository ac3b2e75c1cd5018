//+------------------------------------------------------------------+
//|                                                      Outcome.mqh |
//| What the broker knows of an order, by its magic number alone.    |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_OUTCOME_MQH
#define COMMUNITY_OUTCOME_MQH

//+------------------------------------------------------------------+
//| The opening with this magic number, in deals, positions, resting |
//| orders and ended ones.                                           |
//+------------------------------------------------------------------+
bool FindOpening(const long magic,Report &report)
  {
   if(!HistorySelect(0,FAR_FUTURE))
      return(false);
   double volume=0.0,cost=0.0,profit=0.0;
   int    total=HistoryDealsTotal();
   for(int i=0; i<total; i++)
     {
      ulong deal=HistoryDealGetTicket(i);
      if(HistoryDealGetInteger(deal,DEAL_MAGIC)!=magic || HistoryDealGetInteger(deal,DEAL_ENTRY)!=DEAL_ENTRY_IN)
         continue;
      if(volume>0.0)
         AddCover(report,(long)deal); // one order may be filled by several deals
      else
         FillOpening(deal,report);
      profit+=DealNet(deal);
      volume+=HistoryDealGetDouble(deal,DEAL_VOLUME);
      cost+=HistoryDealGetDouble(deal,DEAL_VOLUME)*HistoryDealGetDouble(deal,DEAL_PRICE);
     }
   if(volume>0.0)
     {
      report.status="executed";
      report.volume=NormalizeDouble(volume,8);
      report.price=cost/volume;
      report.profit=profit;
      SetRetcode(report,TRADE_RETCODE_DONE,"found at the broker");
      return(true);
     }
   return(FindPosition(magic,report) || FindRestingOrder(magic,report) || FindEndedOrder(magic,report));
  }
//+------------------------------------------------------------------+
bool FindPosition(const long magic,Report &report)
  {
   for(int i=PositionsTotal()-1; i>=0; i--)
     {
      ulong ticket=PositionGetTicket(i);
      if(ticket==0 || PositionGetInteger(POSITION_MAGIC)!=magic)
         continue;
      string symbol=PositionGetString(POSITION_SYMBOL);
      report.status="executed";
      report.position=PositionGetInteger(POSITION_IDENTIFIER);
      report.ticket=report.position;
      report.symbol=PlatformSymbol(symbol);
      report.action=PositionGetInteger(POSITION_TYPE)==POSITION_TYPE_BUY ? "BUY" : "SELL";
      report.digits=PriceDigits(symbol);
      report.has_volume=true;
      report.volume=PositionGetDouble(POSITION_VOLUME);
      report.price=PositionGetDouble(POSITION_PRICE_OPEN);
      SetRetcode(report,TRADE_RETCODE_DONE,"found at the broker");
      return(true);
     }
   return(false);
  }
//+------------------------------------------------------------------+
void FillPlaced(const ulong ticket,const string symbol,const double volume,const double price,Report &report)
  {
   report.status="placed";
   report.ticket=(long)ticket;
   report.order=(long)ticket;
   report.symbol=PlatformSymbol(symbol);
   report.digits=PriceDigits(symbol);
   report.has_volume=true;
   report.volume=volume;
   report.price=price;
   SetRetcode(report,TRADE_RETCODE_PLACED,"found at the broker");
  }
//+------------------------------------------------------------------+
bool FindRestingOrder(const long magic,Report &report)
  {
   for(int i=OrdersTotal()-1; i>=0; i--)
     {
      ulong ticket=OrderGetTicket(i);
      if(ticket==0 || OrderGetInteger(ORDER_MAGIC)!=magic || !IsRestingType(OrderGetInteger(ORDER_TYPE)))
         continue;
      FillPlaced(ticket,OrderGetString(ORDER_SYMBOL),OrderGetDouble(ORDER_VOLUME_INITIAL),OrderGetDouble(ORDER_PRICE_OPEN),report);
      return(true);
     }
   return(false);
  }
//+------------------------------------------------------------------+
//| An order that rested and is gone was placed all the same; its    |
//| end is a report of its own.                                      |
//+------------------------------------------------------------------+
bool FindEndedOrder(const long magic,Report &report)
  {
   for(int i=HistoryOrdersTotal()-1; i>=0; i--)
     {
      ulong ticket=HistoryOrderGetTicket(i);
      if(HistoryOrderGetInteger(ticket,ORDER_MAGIC)!=magic || !IsRestingType(HistoryOrderGetInteger(ticket,ORDER_TYPE)))
         continue;
      FillPlaced(ticket,HistoryOrderGetString(ticket,ORDER_SYMBOL),HistoryOrderGetDouble(ticket,ORDER_VOLUME_INITIAL),
                 HistoryOrderGetDouble(ticket,ORDER_PRICE_OPEN),report);
      return(true);
     }
   return(false);
  }
//+------------------------------------------------------------------+
//| The closings that a signal with this magic number made.          |
//+------------------------------------------------------------------+
int FindClosings(const long magic,Report &report)
  {
   if(!HistorySelect(0,FAR_FUTURE))
      return(0);
   int total=HistoryDealsTotal(),found=0;
   for(int i=0; i<total; i++)
     {
      ulong deal=HistoryDealGetTicket(i);
      if(HistoryDealGetInteger(deal,DEAL_MAGIC)!=magic || HistoryDealGetInteger(deal,DEAL_ENTRY)==DEAL_ENTRY_IN ||
         HistoryDealGetInteger(deal,DEAL_REASON)!=DEAL_REASON_EXPERT)
         continue;
      AddClosingResult(deal,TRADE_RETCODE_DONE,report);
      found++;
     }
   if(found>0)
     {
      report.status="executed";
      SetRetcode(report,TRADE_RETCODE_DONE,"found at the broker: "+IntegerToString(found)+" closed");
     }
   return(found);
  }
//+------------------------------------------------------------------+
//| A closing that was interrupted leaves something open, and says   |
//| so.                                                              |
//+------------------------------------------------------------------+
void TellRest(const Signal &signal,Report &report)
  {
   CTickets positions,orders;
   MeantPositions(signal,positions);
   MeantOrders(signal,orders);
   int rest=positions.Size()+orders.Size();
   if(signal.volume<=0.0 && rest>0)
      SetRetcode(report,TRADE_RETCODE_DONE_PARTIAL,report.message+", then it was interrupted: "+IntegerToString(rest)+" still there");
  }
//+------------------------------------------------------------------+
//| Whether a whole closing has nothing left to do: deletions leave  |
//| no deal to find it by.                                           |
//+------------------------------------------------------------------+
bool IsNothingLeft(const Signal &signal)
  {
   CTickets positions,orders;
   if(signal.volume>0.0 || (signal.action!="CLOSE" && signal.action!="CLOSE_ALL"))
      return(false);
   MeantPositions(signal,positions);
   MeantOrders(signal,orders);
   return(positions.Size()+orders.Size()==0);
  }
//+------------------------------------------------------------------+
//| What the broker knows of a signal.                               |
//+------------------------------------------------------------------+
bool FindOutcome(const Signal &signal,Report &report)
  {
   report=NewReport("executed");
   bool found=false;
   if(IsOpening(signal))
      found=FindOpening(signal.magic,report);
   else if(signal.action=="CLOSE" || signal.action=="CLOSE_ALL")
     {
      found=FindClosings(signal.magic,report)>0;
      if(found)
         TellRest(signal,report);
     }
   else if(signal.action=="MODIFY")
      found=IsModified(signal);
   else
      found=signal.action=="PING";
   AnswerTo(signal,report);
   return(found);
  }
#endif
//+------------------------------------------------------------------+
