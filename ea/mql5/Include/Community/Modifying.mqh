//+------------------------------------------------------------------+
//|                                                    Modifying.mqh |
//| MODIFY: new stops for all positions and resting orders that a    |
//| signal is about, with one report.                                |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_MODIFYING_MQH
#define COMMUNITY_MODIFYING_MQH

//+------------------------------------------------------------------+
void Modify(const Signal &signal)
  {
   CTickets positions,orders;
   if(signal.symbol!="" || signal.ticket>0)
     {
      MeantPositions(signal,positions);
      MeantOrders(signal,orders);
     }
   int all=positions.Size()+orders.Size();
   if(all==0)
     {
      Refuse(signal,TRADE_RETCODE_POSITION_CLOSED,"nothing to modify");
      return;
     }
   if(!g_journal.Sending(signal.id,all))
     {
      Answer(signal,"not_sent","the journal can't be written");
      return;
     }
   ulong  started=GetMicrosecondCount();
   Report report=NewReport("executed");
   int    done=0;
   uint   failed=0;
   for(int i=0; i<all; i++)
     {
      bool            position=i<positions.Size();
      ulong           ticket=(ulong)(position ? positions.At(i) : orders.At(i-positions.Size()));
      MqlTradeRequest request= {};
      MqlTradeResult  result= {};
      if(!BuildModification(signal,ticket,position,request))
         continue;
      if(!SendOrder(signal,request,result))
        {
         string overdue=Overdue(signal);
         if(done==0 && failed==0)
           {
            Answer(signal,"not_sent",overdue);
            return;
           }
         // Out of time between two of them: what was done is told.
         AddResult((long)ticket,request.symbol,TRADE_RETCODE_REJECT,overdue,report);
         failed=TRADE_RETCODE_REJECT;
         break;
        }
      if(IsUnknown(result.retcode))
         return; // looked up until it can be told
      AddResult((long)ticket,request.symbol,result.retcode,ResultWords(result),report);
      report.message=ResultWords(result);
      if(IsDone(result.retcode))
         done++;
      else
         failed=result.retcode;
      if(all==1 && done==1)
         report.ticket=(long)ticket;
     }
   Summary(signal,all,done,failed,report);
   report.execution_ms=(long)((GetMicrosecondCount()-started)/1000);
   Send(report);
  }
//+------------------------------------------------------------------+
//| False: it is gone.                                               |
//+------------------------------------------------------------------+
bool BuildModification(const Signal &signal,const ulong ticket,const bool position,MqlTradeRequest &request)
  {
   if(position ? !PositionSelectByTicket(ticket) : !OrderSelect(ticket))
      return(false);
   request.magic=(ulong)signal.magic;
   request.symbol=position ? PositionGetString(POSITION_SYMBOL) : OrderGetString(ORDER_SYMBOL);
   double sl=position ? PositionGetDouble(POSITION_SL) : OrderGetDouble(ORDER_SL);
   double tp=position ? PositionGetDouble(POSITION_TP) : OrderGetDouble(ORDER_TP);
   request.sl=signal.has_sl ? NormalPrice(request.symbol,signal.sl) : sl;
   request.tp=signal.has_tp ? NormalPrice(request.symbol,signal.tp) : tp;
   if(position)
     {
      request.action=TRADE_ACTION_SLTP;
      request.position=ticket;
      return(true);
     }
   request.action=TRADE_ACTION_MODIFY;
   request.order=ticket;
   request.price=OrderGetDouble(ORDER_PRICE_OPEN);
   request.type_time=(ENUM_ORDER_TYPE_TIME)OrderGetInteger(ORDER_TYPE_TIME);
   request.expiration=(datetime)OrderGetInteger(ORDER_TIME_EXPIRATION);
   return(true);
  }
//+------------------------------------------------------------------+
//| A modification leaves no deal: it happened if everything it is   |
//| about looks as it wanted.                                        |
//+------------------------------------------------------------------+
bool IsModified(const Signal &signal)
  {
   CTickets positions,orders;
   if((!signal.has_sl && !signal.has_tp) || (signal.symbol=="" && signal.ticket<=0))
      return(false);
   MeantPositions(signal,positions);
   MeantOrders(signal,orders);
   int all=positions.Size()+orders.Size();
   for(int i=0; i<all; i++)
     {
      bool            position=i<positions.Size();
      ulong           ticket=(ulong)(position ? positions.At(i) : orders.At(i-positions.Size()));
      MqlTradeRequest request= {};
      if(!BuildModification(signal,ticket,position,request))
         return(false);
      double sl=position ? PositionGetDouble(POSITION_SL) : OrderGetDouble(ORDER_SL);
      double tp=position ? PositionGetDouble(POSITION_TP) : OrderGetDouble(ORDER_TP);
      double half=0.5*SymbolInfoDouble(request.symbol,SYMBOL_POINT);
      if(MathAbs(sl-request.sl)>half || MathAbs(tp-request.tp)>half)
         return(false);
     }
   return(all>0);
  }
#endif
//+------------------------------------------------------------------+
