//+------------------------------------------------------------------+
//|                                                      Closing.mqh |
//| CLOSE and CLOSE_ALL: all positions and resting orders that a     |
//| signal is about, with one report.                                |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_CLOSING_MQH
#define COMMUNITY_CLOSING_MQH

// Characters of results in one report: the platform takes no longer one. What is left out is told as news.
#define RESULTS_MAX     24000

//+------------------------------------------------------------------+
//| One object of a report's results.                                |
//+------------------------------------------------------------------+
void AddResult(const long ticket,const string symbol,const uint retcode,const string message,Report &report)
  {
   if(StringLen(report.results)>RESULTS_MAX)
      return;
   CJsonWriter json;
   json.Integer("ticket",ticket);
   json.Text("symbol",PlatformSymbol(symbol));
   json.Number("volume",0.0);
   json.Integer("retcode",retcode);
   json.Text("message",message);
   report.results+=(report.results=="" ? "" : ",")+json.Object();
  }
//+------------------------------------------------------------------+
//| The same of a selected closing deal; of a single one the figures |
//| stand at the top too.                                            |
//+------------------------------------------------------------------+
void AddClosingResult(const ulong deal,const uint retcode,Report &report)
  {
   bool   first=report.results=="";
   double volume=report.volume,profit=report.profit;
   if(StringLen(report.results)>RESULTS_MAX)
      return;
   FillClosing(deal,report);
   CJsonWriter json;
   json.Integer("ticket",report.position);
   json.Integer("deal",report.deal);
   json.Text("symbol",report.symbol);
   json.Number("volume",report.volume);
   json.Number("price",report.price,report.digits);
   json.Number("close_price",report.price,report.digits);
   json.Number("profit",report.profit,(int)AccountInfoInteger(ACCOUNT_CURRENCY_DIGITS));
   json.Integer("retcode",retcode);
   report.results+=(first ? "" : ",")+json.Object();
   if(first)
      return;
   report.volume=NormalizeDouble(volume+report.volume,8);
   report.profit=profit+report.profit;
   report.ticket=0;
   report.position=0;
   report.order=0;
   report.deal=0;
   report.symbol="";
   report.price=0.0;
   report.close_price=0.0;
  }
//+------------------------------------------------------------------+
void Close(const Signal &signal)
  {
   CTickets positions,orders;
   // A closing of one symbol that lost its symbol must not become a closing of everything.
   bool bounded=signal.action=="CLOSE_ALL" || signal.symbol!="" || signal.ticket>0;
   if(bounded)
      MeantPositions(signal,positions);
   // Closing a part of a symbol leaves its resting orders alone.
   if(bounded && (signal.volume<=0.0 || signal.ticket>0))
      MeantOrders(signal,orders);
   if(positions.Size()+orders.Size()==0)
     {
      NothingToClose(signal);
      return;
     }
   if(!g_journal.Sending(signal.id,Planned(signal,positions)))
     {
      Answer(signal,"not_sent","the journal can't be written");
      return;
     }
   ulong  started=GetMicrosecondCount();
   Report report=NewReport("executed");
   int    all=0,done=0;
   uint   failed=0;
   // Orders first: one that is filled meanwhile is a position to close.
   bool   known=DeleteOrders(signal,orders,report,all,done,failed);
   positions.Clear();
   MeantPositions(signal,positions);
   known=ClosePositions(signal,positions,report,all,done,failed) && known;
   if(!known)
      return; // the deals are looked up until they can be told
   Summary(signal,all,done,failed,report);
   report.execution_ms=(long)((GetMicrosecondCount()-started)/1000);
   Send(report);
  }
//+------------------------------------------------------------------+
void NothingToClose(const Signal &signal)
  {
   if(signal.action!="CLOSE_ALL")
     {
      Refuse(signal,TRADE_RETCODE_POSITION_CLOSED,"nothing to close");
      return;
     }
   Report report=ReportOf(signal,"executed");
   SetRetcode(report,TRADE_RETCODE_DONE,"nothing was open");
   Send(report);
  }
//+------------------------------------------------------------------+
//| How several results end: as executed where any was done.         |
//+------------------------------------------------------------------+
void Summary(const Signal &signal,const int all,const int done,const uint failed,Report &report)
  {
   uint   retcode=failed;
   string message=report.message;
   if(done>0)
      retcode=failed==0 ? TRADE_RETCODE_DONE : TRADE_RETCODE_DONE_PARTIAL;
   if(all>1 || message=="")
      message=StringFormat("%d of %d done",done,all);
   if(done==0 && failed==0)
     {
      retcode=TRADE_RETCODE_POSITION_CLOSED;
      message="nothing was left to do, or less than the smallest step";
     }
   report.status=done>0 ? "executed" : "failed";
   SetRetcode(report,retcode,message);
   AnswerTo(signal,report);
  }
//+------------------------------------------------------------------+
//| Lots to close of the selected position, while so many are left.  |
//+------------------------------------------------------------------+
double LotsToClose(const Signal &signal,double &left)
  {
   double volume=PositionGetDouble(POSITION_VOLUME);
   if(signal.volume<=0.0)
      return(volume);
   volume=MathMin(volume,WholeSteps(PositionGetString(POSITION_SYMBOL),left));
   left=NormalizeDouble(left-volume,8);
   return(volume);
  }
//+------------------------------------------------------------------+
//| How many closing orders that makes.                              |
//+------------------------------------------------------------------+
int Planned(const Signal &signal,const CTickets &positions)
  {
   int    count=0;
   double left=signal.volume;
   for(int i=0; i<positions.Size(); i++)
      if(PositionSelectByTicket((ulong)positions.At(i)) && LotsToClose(signal,left)>0.0)
         count++;
   return(count);
  }
//+------------------------------------------------------------------+
//| False: an outcome is unknown.                                    |
//+------------------------------------------------------------------+
bool ClosePositions(const Signal &signal,const CTickets &positions,Report &report,int &all,int &done,uint &failed)
  {
   bool   known=true;
   double left=signal.volume;
   for(int i=0; i<positions.Size(); i++)
     {
      ulong ticket=(ulong)positions.At(i);
      if(!PositionSelectByTicket(ticket))
        {
         all++;
         AddResult((long)ticket,signal.broker_symbol,TRADE_RETCODE_POSITION_CLOSED,"closed already",report);
         failed=TRADE_RETCODE_POSITION_CLOSED;
         continue;
        }
      double volume=LotsToClose(signal,left);
      if(volume<=0.0)
         continue;
      all++;
      known=ClosePosition(signal,ticket,volume,report,done,failed) && known;
     }
   return(known);
  }
//+------------------------------------------------------------------+
//| Closes so many lots of the selected position.                    |
//+------------------------------------------------------------------+
bool ClosePosition(const Signal &signal,const ulong ticket,const double volume,Report &report,int &done,uint &failed)
  {
   MqlTradeRequest request= {};
   MqlTradeResult  result= {};
   string          symbol=PositionGetString(POSITION_SYMBOL);
   long            identifier=PositionGetInteger(POSITION_IDENTIFIER);
   request.action=TRADE_ACTION_DEAL;
   request.magic=(ulong)signal.magic;
   request.position=ticket;
   request.symbol=symbol;
   request.type=PositionGetInteger(POSITION_TYPE)==POSITION_TYPE_BUY ? ORDER_TYPE_SELL : ORDER_TYPE_BUY;
   request.type_filling=MarketFilling(symbol);
   request.deviation=(ulong)(signal.has_slippage ? signal.slippage : DEVIATION_ANY);
   request.comment=StringSubstr(signal.comment,0,COMMENT_MAX);
   double filled=0.0;
   for(int i=0; i<TRIES && filled<volume; i++)
     {
      request.volume=NormalizeDouble(volume-filled,8);
      RefreshPrice(request);
      SendOrder(signal,request,result);
      if(!IsDone(result.retcode))
         break;
      filled=result.retcode==TRADE_RETCODE_DONE ? volume : NormalizeDouble(filled+result.volume,8);
     }
   // Also where an answer was lost: the deals are the truth. One that was done may be a little late.
   double closed=ClosedLots(identifier,signal.magic);
   for(int i=0; i<DEAL_TRIES && closed<filled; i++)
     {
      Sleep(DEAL_PAUSE_MS);
      closed=ClosedLots(identifier,signal.magic);
     }
   if(closed>0.0)
     {
      AddClosingDeals(identifier,signal.magic,report);
      done++;
      if(closed<volume)
        {
         failed=TRADE_RETCODE_DONE_PARTIAL;
         report.message=Plain(closed)+" of "+Plain(volume)+" lots closed";
        }
      return(true);
     }
   if(IsDone(result.retcode) || IsUnknown(result.retcode))
      return(false);
   AddResult((long)ticket,symbol,result.retcode,ResultWords(result),report);
   report.message=ResultWords(result);
   failed=result.retcode;
   return(true);
  }
//+------------------------------------------------------------------+
bool IsClosing(const ulong deal,const long magic)
  {
   return(HistoryDealGetInteger(deal,DEAL_MAGIC)==magic && HistoryDealGetInteger(deal,DEAL_ENTRY)!=DEAL_ENTRY_IN);
  }
//+------------------------------------------------------------------+
//| Lots that this signal closed of a position.                      |
//+------------------------------------------------------------------+
double ClosedLots(const long position,const long magic)
  {
   double lots=0.0;
   if(!HistorySelectByPosition(position))
      return(lots);
   for(int i=0; i<HistoryDealsTotal(); i++)
     {
      ulong deal=HistoryDealGetTicket(i);
      if(IsClosing(deal,magic))
         lots+=HistoryDealGetDouble(deal,DEAL_VOLUME);
     }
   return(NormalizeDouble(lots,8));
  }
//+------------------------------------------------------------------+
//| One order may have made several deals.                           |
//+------------------------------------------------------------------+
void AddClosingDeals(const long position,const long magic,Report &report)
  {
   if(!HistorySelectByPosition(position))
      return;
   for(int i=0; i<HistoryDealsTotal(); i++)
     {
      ulong deal=HistoryDealGetTicket(i);
      if(IsClosing(deal,magic))
         AddClosingResult(deal,TRADE_RETCODE_DONE,report);
     }
  }
//+------------------------------------------------------------------+
MqlTradeRequest Deletion(const ulong order,const string symbol)
  {
   MqlTradeRequest request= {};
   request.action=TRADE_ACTION_REMOVE;
   request.order=order;
   request.symbol=symbol;
   return(request);
  }
//+------------------------------------------------------------------+
//| False: an outcome is unknown. An order that is gone already was  |
//| filled, or has ended; the news tell of it.                       |
//+------------------------------------------------------------------+
bool DeleteOrders(const Signal &signal,const CTickets &orders,Report &report,int &all,int &done,uint &failed)
  {
   bool known=true;
   for(int i=0; i<orders.Size(); i++)
     {
      ulong ticket=(ulong)orders.At(i);
      if(!OrderSelect(ticket))
         continue;
      string          symbol=OrderGetString(ORDER_SYMBOL);
      MqlTradeRequest request=Deletion(ticket,symbol);
      MqlTradeResult  result= {};
      SendOrder(signal,request,result);
      bool gone=IsDone(result.retcode) || (IsUnknown(result.retcode) && WasDeleted(ticket));
      if(!gone && IsUnknown(result.retcode))
        {
         known=false;
         continue;
        }
      all++;
      AddResult((long)ticket,symbol,gone ? TRADE_RETCODE_DONE : result.retcode,gone ? "order deleted" : ResultWords(result),report);
      if(gone)
        {
         AddCover(report,-(long)ticket);
         done++;
         if(report.ticket==0 && orders.Size()==1)
            report.ticket=(long)ticket;
        }
      else
         failed=result.retcode;
     }
   return(known);
  }
//+------------------------------------------------------------------+
//| Whatever the answer was. One that is gone may have been filled.  |
//+------------------------------------------------------------------+
bool WasDeleted(const ulong order)
  {
   return(!OrderSelect(order) && HistoryOrderSelect(order) &&
          HistoryOrderGetInteger(order,ORDER_STATE)==ORDER_STATE_CANCELED);
  }
#endif
//+------------------------------------------------------------------+
