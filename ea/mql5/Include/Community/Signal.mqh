//+------------------------------------------------------------------+
//|                                                       Signal.mqh |
//| A signal as the platform hands it out, with its two limits on    |
//| this machine's own clock.                                        |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_SIGNAL_MQH
#define COMMUNITY_SIGNAL_MQH

struct Signal
  {
   string            signal_id;
   long              id;
   long              magic;
   int               attempt;
   string            action;
   string            order_type;
   string            symbol;          // the platform's name
   string            broker_symbol;
   double            volume;          // 0: none
   double            volume_max;      // 0: no limit
   double            risk_percent;    // 0: none
   double            entry;           // 0: none
   bool              has_sl;
   double            sl;
   bool              has_tp;
   double            tp;
   long              ticket;          // 0: none
   bool              has_slippage;
   long              slippage;        // points
   datetime          order_expires_at;// UTC; 0: never
   string            comment;
   long              after[];         // signals whose outcome must be looked up first
   ulong             lease_until;
   bool              expires;
   ulong             expires_at;
  };

//+------------------------------------------------------------------+
//| 2026-11-24T21:00:00Z                                             |
//+------------------------------------------------------------------+
datetime UtcTime(const string text)
  {
   if(StringLen(text)<19)
      return(0);
   string date=StringSubstr(text,0,10);
   StringReplace(date,"-",".");
   return(StringToTime(date+" "+StringSubstr(text,11,8)));
  }
//+------------------------------------------------------------------+
//| The limits count from the sending of the poll, later only by the |
//| time for which the server says it held it.                       |
//+------------------------------------------------------------------+
ulong Limit(const ulong asked_at,const long held,const long left)
  {
   long ms=held+MathMin(left,(long)86400000)-CLOCK_STEP_MS;
   return(asked_at+(ulong)MathMax(ms,(long)0));
  }
//+------------------------------------------------------------------+
//| What the object is, as far as every action needs it; false for   |
//| what names no claim.                                             |
//+------------------------------------------------------------------+
bool ReadClaim(const CJsonReader &json,const int object,Signal &signal)
  {
   signal.signal_id=json.Text(object,"signal_id");
   signal.id=json.Integer(object,"id");
   signal.magic=json.Integer(object,"magic");
   signal.attempt=(int)json.Integer(object,"attempt");
   signal.action=json.Text(object,"action");
   signal.order_type=json.Text(object,"order_type");
   signal.symbol=json.Text(object,"symbol");
   signal.broker_symbol=BrokerSymbol(signal.symbol);
   signal.volume=json.Number(object,"volume");
   signal.entry=json.Number(object,"entry");
   signal.has_sl=json.Has(object,"sl");
   signal.sl=json.Number(object,"sl");
   signal.has_tp=json.Has(object,"tp");
   signal.tp=json.Number(object,"tp");
   signal.ticket=json.Integer(object,"ticket");
   return(signal.signal_id!="" && signal.id>0 && signal.id<MAGIC_SPAN && signal.attempt>0 && signal.action!="" &&
          signal.magic/MAGIC_SPAN>0 && signal.magic%MAGIC_SPAN==signal.id);
  }
//+------------------------------------------------------------------+
void ReadSignal(const CJsonReader &json,const int object,const ulong asked_at,Signal &signal)
  {
   signal.volume_max=json.Number(object,"max_volume");
   signal.risk_percent=json.Number(object,"risk_percent");
   signal.has_slippage=json.Has(object,"max_slippage_points");
   signal.slippage=json.Integer(object,"max_slippage_points");
   signal.order_expires_at=UtcTime(json.Text(object,"order_expires_at"));
   signal.comment=json.Text(object,"comment");
   json.Integers(object,"after",signal.after);
   long took=(long)(GetTickCount64()-asked_at);
   long held=MathMax((long)0,MathMin(json.Integer(object,"held_ms"),took));
   signal.lease_until=Limit(asked_at,held,json.Integer(object,"lease_ms"));
   signal.expires=json.Has(object,"remaining_ms");
   signal.expires_at=Limit(asked_at,held,json.Integer(object,"remaining_ms"));
  }
//+------------------------------------------------------------------+
//| Why it must not be sent any more; empty: it may.                 |
//+------------------------------------------------------------------+
string Overdue(const Signal &signal)
  {
   ulong now=GetTickCount64();
   if(signal.expires && now>=signal.expires_at)
      return("expired before it was sent");
   if(now>=signal.lease_until)
      return("the lease ran out before it was sent");
   return("");
  }
//+------------------------------------------------------------------+
bool IsOpening(const Signal &signal)
  {
   return(signal.action=="BUY" || signal.action=="SELL");
  }
#endif
//+------------------------------------------------------------------+
