//+------------------------------------------------------------------+
//|                                                        Words.mqh |
//| What the other files share: limits, return codes, numbers.       |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_WORDS_MQH
#define COMMUNITY_WORDS_MQH

// A magic number is the account's base times this, plus the signal's number.
#define MAGIC_SPAN 1000000000000
// GetTickCount64 moves in steps of up to 16 ms: what has less time left counts as over.
#define CLOCK_STEP_MS 20
// A history that is asked for whole ends here.
#define FAR_FUTURE D'2100.01.01 00:00'

//+------------------------------------------------------------------+
//| Nobody knows whether the order reached the broker.               |
//+------------------------------------------------------------------+
bool IsUnknown(const uint retcode)
  {
   switch(retcode)
     {
      case 0:
      case TRADE_RETCODE_PLACED:
      case TRADE_RETCODE_ERROR:
      case TRADE_RETCODE_TIMEOUT:
      case TRADE_RETCODE_LOCKED:
      case TRADE_RETCODE_CONNECTION:
         return(true);
     }
   return(false);
  }
//+------------------------------------------------------------------+
//| The broker refused for the price alone: a fresh one may do.      |
//+------------------------------------------------------------------+
bool WantsFreshPrice(const uint retcode)
  {
   return(retcode==TRADE_RETCODE_REQUOTE || retcode==TRADE_RETCODE_PRICE_CHANGED || retcode==TRADE_RETCODE_PRICE_OFF);
  }
//+------------------------------------------------------------------+
bool IsDone(const uint retcode)
  {
   return(retcode==TRADE_RETCODE_DONE || retcode==TRADE_RETCODE_DONE_PARTIAL || retcode==TRADE_RETCODE_NO_CHANGES);
  }
//+------------------------------------------------------------------+
//| A number as short as it is exact: 0.10000000 is 0.1              |
//+------------------------------------------------------------------+
string Plain(const double value,const int digits=8)
  {
   string text=DoubleToString(value,digits);
   if(StringFind(text,".")<0)
      return(text);
   int length=StringLen(text);
   while(length>0 && StringGetCharacter(text,length-1)=='0')
      length--;
   if(length>0 && StringGetCharacter(text,length-1)=='.')
      length--;
   return(StringSubstr(text,0,length));
  }
//+------------------------------------------------------------------+
//| Cuts the first word off a text.                                  |
//+------------------------------------------------------------------+
string CutWord(string &text)
  {
   int    end=StringFind(text," ");
   string word=end<0 ? text : StringSubstr(text,0,end);
   text=end<0 ? "" : StringSubstr(text,end+1);
   return(word);
  }
//+------------------------------------------------------------------+
bool IsTradingPermitted(void)
  {
   return(TerminalInfoInteger(TERMINAL_TRADE_ALLOWED)!=0 && MQLInfoInteger(MQL_TRADE_ALLOWED)!=0 &&
          AccountInfoInteger(ACCOUNT_TRADE_EXPERT)!=0 && AccountInfoInteger(ACCOUNT_TRADE_ALLOWED)!=0);
  }
//+------------------------------------------------------------------+
bool IsConnected(void)
  {
   return(TerminalInfoInteger(TERMINAL_CONNECTED)!=0);
  }
#endif
//+------------------------------------------------------------------+
