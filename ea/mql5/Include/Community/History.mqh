//+------------------------------------------------------------------+
//|                                                      History.mqh |
//| The account's deals, added up, and those still to be judged.     |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_HISTORY_MQH
#define COMMUNITY_HISTORY_MQH

// Events may be lost: the history is looked at this often anyway.
#define LOOK_EVERY_MS 1000
// Looks are at the last day; at the whole, which may be long, this often, and where something is missing.
#define WHOLE_EVERY_MS 60000
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
   void              KeepOrder(const long order) { m_new_orders.Add(order); }
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
#endif
//+------------------------------------------------------------------+
