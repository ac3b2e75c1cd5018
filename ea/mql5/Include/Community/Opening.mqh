//+------------------------------------------------------------------+
//|                                                      Opening.mqh |
//| Turns BUY and SELL into one order, sized and rounded to what the |
//| symbol allows, or refuses with a reason.                         |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_OPENING_MQH
#define COMMUNITY_OPENING_MQH

// A price is waited for two seconds at most.
#define PRICE_TRIES    100
#define PRICE_PAUSE_MS 20

struct Refusal
  {
   uint              retcode;
   string            message;
  };

//+------------------------------------------------------------------+
bool Refused(Refusal &refusal,const uint retcode,const string message)
  {
   refusal.retcode=retcode;
   refusal.message=message;
   return(false);
  }
//+------------------------------------------------------------------+
void Open(const Signal &signal)
  {
   Refusal         refusal;
   MqlTradeRequest request= {};
   MqlTradeResult  result= {};
   if(!BuildOpening(signal,request,refusal))
     {
      // What ran out of time while a price was waited for was not refused.
      string late=Overdue(signal);
      if(late=="")
         Refuse(signal,refusal.retcode,refusal.message);
      else
         Answer(signal,"not_sent",late);
      return;
     }
   ulong  started=GetMicrosecondCount();
   string overdue=Overdue(signal);
   if(overdue!="")
     {
      Answer(signal,"not_sent",overdue);
      return;
     }
   if(!g_journal.Sending(signal.id,1))
     {
      Answer(signal,"not_sent","the journal can't be written");
      return;
     }
   if(!SendOrder(signal,request,result))
     {
      Answer(signal,"not_sent",Overdue(signal));
      return;
     }
   if(IsOpenQuestion(request,result))
     {
      ReportIfFound(signal);
      return;
     }
   ReportOpening(signal,request,result,(long)((GetMicrosecondCount()-started)/1000));
  }
//+------------------------------------------------------------------+
void ReportOpening(const Signal &signal,const MqlTradeRequest &request,const MqlTradeResult &result,const long took_ms)
  {
   bool   resting=request.action==TRADE_ACTION_PENDING;
   bool   done=IsDone(result.retcode) || (resting && result.retcode==TRADE_RETCODE_PLACED);
   Report report=NewReport(done ? (resting ? "placed" : "executed") : "failed");
   SetRetcode(report,result.retcode,ResultWords(result));
   report.execution_ms=took_ms;
   if(done)
     {
      report.order=(long)result.order;
      report.ticket=(long)result.order;
      report.has_volume=true;
      report.volume=result.volume>0.0 ? result.volume : request.volume;
      report.digits=PriceDigits(request.symbol);
      report.price=resting ? request.price : result.price;
      if(!resting)
        {
         report.position=(long)result.order;
         // The deal itself knows better than the answer, which on some servers has no price.
         if(WaitForDeal(result.deal))
            FillOpening(result.deal,report);
         else
           {
            report.deal=(long)result.deal;
            AddCover(report,report.deal);
           }
         report.message=FillWords(request,report,result.volume);
        }
     }
   AnswerTo(signal,report);
   Send(report);
  }
//+------------------------------------------------------------------+
//| The real slippage: points worse than the price that was asked.   |
//+------------------------------------------------------------------+
string FillWords(const MqlTradeRequest &request,const Report &report,const double filled)
  {
   double worse=request.type==ORDER_TYPE_BUY ? report.price-request.price : request.price-report.price;
   string words=report.price>0.0 ? StringFormat("slippage %d points",(int)MathRound(worse/SymbolInfoDouble(request.symbol,SYMBOL_POINT))) :
                "at a price that is not known yet";
   double volume=MathMax(filled,report.volume);
   if(volume<request.volume)
      words+=", "+Plain(volume)+" of "+Plain(request.volume)+" lots filled";
   return(words);
  }
//+------------------------------------------------------------------+
bool BuildOpening(const Signal &signal,MqlTradeRequest &request,Refusal &refusal)
  {
   string  symbol=signal.broker_symbol;
   MqlTick tick;
   if(!IsSymbolAllowed(signal.symbol))
      return(Refused(refusal,TRADE_RETCODE_INVALID,"InpSymbolsAllowed does not hold "+signal.symbol));
   if(!SymbolSelect(symbol,true))
      return(Refused(refusal,TRADE_RETCODE_INVALID,"the broker has no symbol "+symbol+"; map its name in the inputs"));
   if(!WaitForPrice(signal,tick))
      return(Refused(refusal,TRADE_RETCODE_PRICE_OFF,"there is no price of "+symbol));
   bool buys=signal.action=="BUY";
   request.symbol=symbol;
   request.magic=(ulong)signal.magic;
   request.comment=StringSubstr(signal.comment,0,COMMENT_MAX);
   request.deviation=(ulong)(signal.has_slippage ? signal.slippage : InpSlippagePoints);
   if(!SetKind(signal,tick,request,refusal))
      return(false);
   request.sl=NormalPrice(symbol,signal.sl);
   request.tp=NormalPrice(symbol,signal.tp);
   string slippage=SlippageFault(signal,request);
   if(slippage!="")
      return(Refused(refusal,TRADE_RETCODE_PRICE_CHANGED,slippage));
   if(!IsDirectionAllowed(symbol,buys))
      return(Refused(refusal,TRADE_RETCODE_TRADE_DISABLED,"the broker takes no "+signal.action+" of "+symbol));
   if(OurPositions()>=InpPositionsMax)
      return(Refused(refusal,TRADE_RETCODE_LIMIT_POSITIONS,
                     "InpPositionsMax allows "+IntegerToString(InpPositionsMax)+" positions and resting orders"));
   // A resting order's stops are measured from its own price, a market order's from where it could be closed.
   double reference=request.action==TRADE_ACTION_PENDING ? request.price : (buys ? tick.bid : tick.ask);
   return(AreStopsValid(request,buys,reference,refusal) && SetVolume(signal,buys,request,refusal));
  }
//+------------------------------------------------------------------+
//| A symbol that was just chosen has its first price a little later.|
//+------------------------------------------------------------------+
bool WaitForPrice(const Signal &signal,MqlTick &tick)
  {
   for(int i=0; i<PRICE_TRIES && Overdue(signal)==""; i++)
     {
      if(SymbolInfoTick(signal.broker_symbol,tick) && tick.bid>0.0 && tick.ask>0.0)
         return(true);
      Sleep(PRICE_PAUSE_MS);
     }
   return(false);
  }
//+------------------------------------------------------------------+
//| Market, limit or stop, at which price and until when.            |
//+------------------------------------------------------------------+
bool SetKind(const Signal &signal,const MqlTick &tick,MqlTradeRequest &request,Refusal &refusal)
  {
   bool buys=signal.action=="BUY";
   if(signal.order_type=="market" || signal.order_type=="")
     {
      request.action=TRADE_ACTION_DEAL;
      request.type=buys ? ORDER_TYPE_BUY : ORDER_TYPE_SELL;
      request.price=buys ? tick.ask : tick.bid;
      request.type_filling=MarketFilling(request.symbol);
      return(true);
     }
   request.action=TRADE_ACTION_PENDING;
   request.type_filling=ORDER_FILLING_RETURN;
   request.price=NormalPrice(request.symbol,signal.entry);
   if(signal.order_type=="limit")
      request.type=buys ? ORDER_TYPE_BUY_LIMIT : ORDER_TYPE_SELL_LIMIT;
   else if(signal.order_type=="stop")
      request.type=buys ? ORDER_TYPE_BUY_STOP : ORDER_TYPE_SELL_STOP;
   else
      return(Refused(refusal,TRADE_RETCODE_INVALID_ORDER,"this Expert Advisor knows no order of type "+signal.order_type));
   // A limit order waits for a better price, a stop order for a worse one.
   double room=buys==(signal.order_type=="limit") ? (buys ? tick.ask : tick.bid)-request.price : request.price-(buys ? tick.ask : tick.bid);
   if(request.price<=0.0 || room<Distance(request.symbol)-0.5*SymbolInfoDouble(request.symbol,SYMBOL_POINT))
      return(Refused(refusal,TRADE_RETCODE_INVALID_PRICE,
                     StringFormat("a %s order to %s can't rest at %s while the price is %s",signal.order_type,signal.action,
                                  Plain(request.price),Plain(buys ? tick.ask : tick.bid))));
   return(SetExpiration(signal,request,refusal));
  }
//+------------------------------------------------------------------+
bool SetExpiration(const Signal &signal,MqlTradeRequest &request,Refusal &refusal)
  {
   if(signal.order_expires_at==0)
     {
      request.type_time=ORDER_TIME_GTC;
      return(true);
     }
   if((SymbolInfoInteger(request.symbol,SYMBOL_EXPIRATION_MODE) & SYMBOL_EXPIRATION_SPECIFIED)==0)
      return(Refused(refusal,TRADE_RETCODE_INVALID_EXPIRATION,"the broker takes no time of expiry for "+request.symbol));
   // The broker's clock is some half hours away from UTC; seconds of difference are the clocks' own.
   long offset=(long)MathRound((double)((long)TimeTradeServer()-(long)TimeGMT())/1800.0)*1800;
   request.type_time=ORDER_TIME_SPECIFIED;
   request.expiration=(datetime)((long)signal.order_expires_at+offset);
   return(true);
  }
//+------------------------------------------------------------------+
bool IsDirectionAllowed(const string symbol,const bool buys)
  {
   long mode=SymbolInfoInteger(symbol,SYMBOL_TRADE_MODE);
   if(mode==SYMBOL_TRADE_MODE_DISABLED || mode==SYMBOL_TRADE_MODE_CLOSEONLY)
      return(false);
   return(mode!=(buys ? SYMBOL_TRADE_MODE_SHORTONLY : SYMBOL_TRADE_MODE_LONGONLY));
  }
//+------------------------------------------------------------------+
//| Positions and resting orders with a magic number of ours.        |
//+------------------------------------------------------------------+
int OurPositions(void)
  {
   int count=0;
   for(int i=PositionsTotal()-1; i>=0; i--)
      if(PositionGetTicket(i)>0 && g_journal.IsOurs(PositionGetInteger(POSITION_MAGIC)))
         count++;
   for(int i=OrdersTotal()-1; i>=0; i--)
      if(OrderGetTicket(i)>0 && g_journal.IsOurs(OrderGetInteger(ORDER_MAGIC)))
         count++;
   return(count);
  }
//+------------------------------------------------------------------+
double Distance(const string symbol)
  {
   return((double)SymbolInfoInteger(symbol,SYMBOL_TRADE_STOPS_LEVEL)*SymbolInfoDouble(symbol,SYMBOL_POINT));
  }
//+------------------------------------------------------------------+
bool AreStopsValid(const MqlTradeRequest &request,const bool buys,const double reference,Refusal &refusal)
  {
   double least=Distance(request.symbol)-0.5*SymbolInfoDouble(request.symbol,SYMBOL_POINT);
   double loss=buys ? reference-request.sl : request.sl-reference;
   double gain=buys ? request.tp-reference : reference-request.tp;
   if(request.sl>0.0 && loss<least)
      return(Refused(refusal,TRADE_RETCODE_INVALID_STOPS,
                     StringFormat("a stop loss at %s is not possible: the price is %s and %I64d points are the least distance",
                                  Plain(request.sl),Plain(reference),SymbolInfoInteger(request.symbol,SYMBOL_TRADE_STOPS_LEVEL))));
   if(request.tp>0.0 && gain<least)
      return(Refused(refusal,TRADE_RETCODE_INVALID_STOPS,
                     StringFormat("a take profit at %s is not possible: the price is %s and %I64d points are the least distance",
                                  Plain(request.tp),Plain(reference),SymbolInfoInteger(request.symbol,SYMBOL_TRADE_STOPS_LEVEL))));
   return(true);
  }
//+------------------------------------------------------------------+
bool SetVolume(const Signal &signal,const bool buys,MqlTradeRequest &request,Refusal &refusal)
  {
   double least=SymbolInfoDouble(request.symbol,SYMBOL_VOLUME_MIN);
   double most=SymbolInfoDouble(request.symbol,SYMBOL_VOLUME_MAX);
   double allowed=signal.volume_max>0.0 ? MathMin(signal.volume_max,InpVolumeMax) : InpVolumeMax;
   double volume=signal.volume;
   if(volume<=0.0 && signal.risk_percent<=0.0)
      return(Refused(refusal,TRADE_RETCODE_INVALID_VOLUME,"there is no volume"));
   if(volume<=0.0)
     {
      if(!VolumeOfRisk(signal,buys,request,volume))
         return(Refused(refusal,TRADE_RETCODE_INVALID_STOPS,"there is no stop loss to size by, or no price to reckon its loss with"));
      volume=MathMin(volume,MathMin(allowed,most));
     }
   if(volume>allowed+1e-9)
      return(Refused(refusal,TRADE_RETCODE_INVALID_VOLUME,
                     StringFormat("%s lots where %s are allowed",Plain(volume),Plain(allowed))));
   if(volume>most+1e-9)
      return(Refused(refusal,TRADE_RETCODE_INVALID_VOLUME,
                     StringFormat("%s lots where the broker takes %s",Plain(volume),Plain(most))));
   request.volume=WholeSteps(request.symbol,volume);
   if(request.volume<least-1e-9)
      return(Refused(refusal,TRADE_RETCODE_INVALID_VOLUME,
                     StringFormat("%s lots where the broker takes at least %s",Plain(volume),Plain(least))));
   return(true);
  }
//+------------------------------------------------------------------+
//| The lots that lose so many percent of the equity at the stop.    |
//+------------------------------------------------------------------+
bool VolumeOfRisk(const Signal &signal,const bool buys,const MqlTradeRequest &request,double &volume)
  {
   double profit=0.0;
   if(request.sl<=0.0 ||
      !OrderCalcProfit(buys ? ORDER_TYPE_BUY : ORDER_TYPE_SELL,request.symbol,1.0,request.price,request.sl,profit) || profit>=0.0)
      return(false);
   volume=MathMax(0.0,AccountInfoDouble(ACCOUNT_EQUITY))*signal.risk_percent/100.0/-profit;
   return(true);
  }
#endif
//+------------------------------------------------------------------+
