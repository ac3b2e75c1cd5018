//+------------------------------------------------------------------+
//|                                                      Tickets.mqh |
//| A sorted set of numbers: tickets, which mostly grow.             |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_TICKETS_MQH
#define COMMUNITY_TICKETS_MQH

class CTickets
  {
private:
   long              m_items[];
   int               m_size;

   // Where the number is, or would be.
   int               Place(const long ticket) const
     {
      int low=0,high=m_size;
      while(low<high)
        {
         int middle=(low+high)/2;
         if(m_items[middle]<ticket)
            low=middle+1;
         else
            high=middle;
        }
      return(low);
     }

public:
                     CTickets(void) : m_size(0) { }
   int               Size(void) const { return(m_size); }
   long              At(const int index) const { return(m_items[index]); }
   bool              Has(const long ticket) const
     {
      int at=Place(ticket);
      return(at<m_size && m_items[at]==ticket);
     }
   void              Add(const long ticket)
     {
      int at=Place(ticket);
      if(at<m_size && m_items[at]==ticket)
         return;
      if(m_size==ArraySize(m_items))
         ArrayResize(m_items,m_size+256);
      for(int i=m_size; i>at; i--)
         m_items[i]=m_items[i-1];
      m_items[at]=ticket;
      m_size++;
     }
   void              Clear(void) { m_size=0; }
  };
#endif
//+------------------------------------------------------------------+
