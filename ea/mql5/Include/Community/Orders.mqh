//+------------------------------------------------------------------+
//|                                                       Orders.mqh |
//| The only place that calls OrderSend.                             |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_ORDERS_MQH
#define COMMUNITY_ORDERS_MQH

// Order sends per order, where the broker asks for a fresh price or a little patience.
#define TRIES 3
#define PATIENCE_MS 500
// Characters of a comment that brokers keep.
#define COMMENT_MAX 31
// How long a deal that was done may take into the history.
#define DEAL_TRIES      15
#define DEAL_PAUSE_MS   20
// The deviation of closings that name none: they must go through.
#define DEVIATION_ANY 100000

//+------------------------------------------------------------------+
void RefreshPrice(MqlTradeRequest &request)
  {
   MqlTick tick;
   if(request.action==TRADE_ACTION_DEAL && SymbolInfoTick(request.symbol,tick))
      request.price=request.type==ORDER_TYPE_BUY ? tick.ask : tick.bid;
  }
//+------------------------------------------------------------------+
//| Sends, and again where the broker refused for the price alone;   |
//| an opening only while it has time, and while the price is        |
//| acceptable. False: OrderSend was never called.                   |
//+------------------------------------------------------------------+
bool SendOrder(const Signal &signal,MqlTradeRequest &request,MqlTradeResult &result)
  {
   for(int attempt=0; attempt<TRIES; attempt++)
     {
      if(signal.expires && Overdue(signal)!="")
         return(attempt>0);
      if(attempt>0)
        {
         RefreshPrice(request);
         if(SlippageFault(signal,request)!="")
            return(true);
        }
      ZeroMemory(result);
      ResetLastError();
      bool sent=OrderSend(request,result);
      g_history.Hint();
      if(IsOpenQuestion(request,result))
         PrintFormat("#%I64d: OrderSend brought no answer to rely on (retcode %u, error %d, %s): the outcome is looked up",
                     signal.id,result.retcode,GetLastError(),sent ? "sent" : "perhaps not sent");
      if(result.retcode==TRADE_RETCODE_TOO_MANY_REQUESTS)
         Sleep(PATIENCE_MS);
      else
         if(!WantsFreshPrice(result.retcode))
            return(true);
     }
   return(true);
  }
//+------------------------------------------------------------------+
//| A deal that was done may be a little late.                       |
//+------------------------------------------------------------------+
bool WaitForDeal(const ulong deal)
  {
   for(int i=0; i<DEAL_TRIES; i++)
     {
      if(HistoryDealSelect(deal))
         return(true);
      Sleep(DEAL_PAUSE_MS);
     }
   return(false);
  }
//+------------------------------------------------------------------+
//| Nobody knows what became of it. A resting order that is placed   |
//| is done; a market order that is only placed is not.              |
//+------------------------------------------------------------------+
bool IsOpenQuestion(const MqlTradeRequest &request,const MqlTradeResult &result)
  {
   if(request.action==TRADE_ACTION_PENDING && result.retcode==TRADE_RETCODE_PLACED)
      return(false);
   // Accepted is not executed: without a deal it is looked up.
   if(request.action==TRADE_ACTION_DEAL && request.position==0 && IsDone(result.retcode) && result.deal==0)
      return(true);
   return(IsUnknown(result.retcode));
  }
//+------------------------------------------------------------------+
//| How far the price has run from the signal's reference, where a   |
//| signal names both; empty: acceptably.                            |
//+------------------------------------------------------------------+
string SlippageFault(const Signal &signal,const MqlTradeRequest &request)
  {
   if(request.action!=TRADE_ACTION_DEAL || !IsOpening(signal) || !signal.has_slippage || signal.entry<=0.0)
      return("");
   double worse=request.type==ORDER_TYPE_BUY ? request.price-signal.entry : signal.entry-request.price;
   double points=worse/SymbolInfoDouble(request.symbol,SYMBOL_POINT);
   if(points<=(double)signal.slippage+0.5)
      return("");
   return(StringFormat("the price %s is %d points worse than %s, %I64d are allowed",
                       Plain(request.price),(int)MathRound(points),Plain(signal.entry),signal.slippage));
  }
//+------------------------------------------------------------------+
//| The broker's words for a person.                                 |
//+------------------------------------------------------------------+
string ResultWords(const MqlTradeResult &result)
  {
   switch(result.retcode)
     {
      case TRADE_RETCODE_SERVER_DISABLES_AT:
         return("the broker has switched automated trading off");
      case TRADE_RETCODE_CLIENT_DISABLES_AT:
         return("Algo Trading is switched off in the terminal");
      case TRADE_RETCODE_TRADE_DISABLED:
         return("trading is disabled for this account or symbol");
      case TRADE_RETCODE_MARKET_CLOSED:
         return("the market is closed");
      case TRADE_RETCODE_NO_MONEY:
         return("not enough free margin");
     }
   return(StringLen(result.comment)>0 ? result.comment : "no reason given");
  }
//+------------------------------------------------------------------+
//| A refusal without asking the broker.                             |
//+------------------------------------------------------------------+
void Refuse(const Signal &signal,const uint retcode,const string message)
  {
   Report report=ReportOf(signal,"failed");
   SetRetcode(report,retcode,message);
   Send(report);
  }
//+------------------------------------------------------------------+
//| The outcome is unknown: found, it is told; else the look-up goes |
//| on, and nothing is sent again.                                   |
//+------------------------------------------------------------------+
void ReportIfFound(const Signal &signal)
  {
   Report report;
   if(FindOutcome(signal,report))
      Send(report);
  }
#endif
//+------------------------------------------------------------------+
