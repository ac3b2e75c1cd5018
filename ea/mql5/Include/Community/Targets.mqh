//+------------------------------------------------------------------+
//|                                                      Targets.mqh |
//| Which positions and resting orders a signal is about. Without a  |
//| ticket only what carries a magic number of ours is touched.      |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_TARGETS_MQH
#define COMMUNITY_TARGETS_MQH

//+------------------------------------------------------------------+
bool IsMeant(const Signal &signal,const bool named,const string symbol,const long magic)
  {
   if(signal.ticket>0)
      return(named);
   return(g_journal.IsOurs(magic) && (signal.symbol=="" || symbol==signal.broker_symbol));
  }
//+------------------------------------------------------------------+
//| Tickets of the positions, or of the resting orders, that a       |
//| signal is about, oldest first.                                   |
//+------------------------------------------------------------------+
void MeantPositions(const Signal &signal,CTickets &tickets)
  {
   for(int i=PositionsTotal()-1; i>=0; i--)
     {
      ulong ticket=PositionGetTicket(i);
      if(ticket==0)
         continue;
      // A broker may give a position another ticket; its identifier stays.
      bool named=(long)ticket==signal.ticket || PositionGetInteger(POSITION_IDENTIFIER)==signal.ticket;
      if(IsMeant(signal,named,PositionGetString(POSITION_SYMBOL),PositionGetInteger(POSITION_MAGIC)))
         tickets.Add((long)ticket);
     }
  }
//+------------------------------------------------------------------+
void MeantOrders(const Signal &signal,CTickets &tickets)
  {
   for(int i=OrdersTotal()-1; i>=0; i--)
     {
      ulong ticket=OrderGetTicket(i);
      if(ticket==0 || !IsRestingType(OrderGetInteger(ORDER_TYPE)))
         continue;
      if(IsMeant(signal,(long)ticket==signal.ticket,OrderGetString(ORDER_SYMBOL),OrderGetInteger(ORDER_MAGIC)))
         tickets.Add((long)ticket);
     }
  }
#endif
//+------------------------------------------------------------------+
