//+------------------------------------------------------------------+
//|                                                      Symbols.mqh |
//| The platform's names of symbols and the broker's, and what a     |
//| symbol allows: volumes, prices, distances, ways to fill.         |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_SYMBOLS_MQH
#define COMMUNITY_SYMBOLS_MQH

//+------------------------------------------------------------------+
//| The parts between separators, without the spaces around them.    |
//+------------------------------------------------------------------+
int Parts(const string text,const ushort separator,string &parts[])
  {
   int count=StringSplit(text,separator,parts);
   for(int i=0; i<count; i++)
     {
      StringTrimLeft(parts[i]);
      StringTrimRight(parts[i]);
     }
   return(count);
  }
//+------------------------------------------------------------------+
string SymbolMapFault(const string map)
  {
   string pairs[];
   int    count=Parts(map,',',pairs);
   for(int i=0; i<count; i++)
     {
      string names[];
      if(pairs[i]!="" && (Parts(pairs[i],'=',names)!=2 || names[0]=="" || names[1]==""))
         return("InpSymbolMap is a list such as XAUUSD=GOLD,US30=DJ30");
     }
   return("");
  }
//+------------------------------------------------------------------+
//| The other name in the map, from left to right or back.           |
//+------------------------------------------------------------------+
string Mapped(const string name,const bool back)
  {
   string pairs[];
   int    count=Parts(InpSymbolMap,',',pairs);
   for(int i=0; i<count; i++)
     {
      string names[];
      if(Parts(pairs[i],'=',names)==2 && names[back ? 1 : 0]==name)
         return(names[back ? 0 : 1]);
     }
   return("");
  }
//+------------------------------------------------------------------+
string BrokerSymbol(const string name)
  {
   string mapped=Mapped(name,false);
   if(mapped!="")
      return(mapped);
   return(InpSymbolPrefix+name+InpSymbolSuffix);
  }
//+------------------------------------------------------------------+
string PlatformSymbol(const string name)
  {
   string mapped=Mapped(name,true);
   if(mapped!="")
      return(mapped);
   int before=StringLen(InpSymbolPrefix),after=StringLen(InpSymbolSuffix),length=StringLen(name);
   if(length>before+after && (before==0 || StringSubstr(name,0,before)==InpSymbolPrefix) &&
      (after==0 || StringSubstr(name,length-after)==InpSymbolSuffix))
      return(StringSubstr(name,before,length-before-after));
   return(name);
  }
//+------------------------------------------------------------------+
bool IsSymbolAllowed(const string name)
  {
   string allowed[];
   int    count=Parts(InpSymbolsAllowed,',',allowed);
   if(InpSymbolsAllowed=="")
      return(true);
   for(int i=0; i<count; i++)
      if(allowed[i]==name)
         return(true);
   return(false);
  }
//+------------------------------------------------------------------+
//| A price on the symbol's grid.                                    |
//+------------------------------------------------------------------+
double NormalPrice(const string symbol,const double price)
  {
   int    digits=(int)SymbolInfoInteger(symbol,SYMBOL_DIGITS);
   double tick=SymbolInfoDouble(symbol,SYMBOL_TRADE_TICK_SIZE);
   if(price<=0.0)
      return(0.0);
   return(NormalizeDouble(tick>0.0 ? MathRound(price/tick)*tick : price,digits));
  }
//+------------------------------------------------------------------+
//| The largest volume on the symbol's grid that is not more.        |
//+------------------------------------------------------------------+
double WholeSteps(const string symbol,const double volume)
  {
   double step=SymbolInfoDouble(symbol,SYMBOL_VOLUME_STEP);
   // 0.3 in steps of 0.1 is three of them, although 0.3/0.1 is a little less.
   return(step>0.0 ? NormalizeDouble(MathFloor(volume/step+1e-7)*step,8) : volume);
  }
//+------------------------------------------------------------------+
//| Of a symbol that the broker has taken away nothing is rounded.   |
//+------------------------------------------------------------------+
int PriceDigits(const string symbol)
  {
   long digits=0;
   return(SymbolInfoInteger(symbol,SYMBOL_DIGITS,digits) ? (int)digits : 8);
  }
//+------------------------------------------------------------------+
//| How a market order may be filled: in full at these brokers       |
//| always; else what can be filled at once, where that is allowed.  |
//+------------------------------------------------------------------+
ENUM_ORDER_TYPE_FILLING MarketFilling(const string symbol)
  {
   long execution=SymbolInfoInteger(symbol,SYMBOL_TRADE_EXEMODE);
   long allowed=SymbolInfoInteger(symbol,SYMBOL_FILLING_MODE);
   if(execution==SYMBOL_TRADE_EXECUTION_REQUEST || execution==SYMBOL_TRADE_EXECUTION_INSTANT)
      return(ORDER_FILLING_FOK);
   if((allowed & SYMBOL_FILLING_IOC)!=0)
      return(ORDER_FILLING_IOC);
   if((allowed & SYMBOL_FILLING_FOK)!=0)
      return(ORDER_FILLING_FOK);
   return(ORDER_FILLING_RETURN);
  }
#endif
//+------------------------------------------------------------------+
