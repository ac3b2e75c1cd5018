//+------------------------------------------------------------------+
//|                                                      Intents.mqh |
//| The signals that this installation took, by their numbers.       |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_INTENTS_MQH
#define COMMUNITY_INTENTS_MQH

struct Intent
  {
   long              id;
   long              magic;
   int               attempt;
   bool              sent;       // an order send was begun, in this attempt or an earlier one
   bool              reported;   // a report on this attempt is on its way
   int               orders;     // how many orders it is
  };

class CIntents
  {
private:
   Intent            m_items[];
   int               m_count;

   int               Place(const long id) const
     {
      int low=0,high=m_count;
      while(low<high)
        {
         int middle=(low+high)/2;
         if(m_items[middle].id<id)
            low=middle+1;
         else
            high=middle;
        }
      return(low);
     }
   int               Make(const long id)
     {
      int at=Place(id);
      if(at<m_count && m_items[at].id==id)
         return(at);
      if(m_count==ArraySize(m_items))
         ArrayResize(m_items,m_count+256);
      for(int i=m_count; i>at; i--)
         m_items[i]=m_items[i-1];
      m_count++;
      m_items[at].id=id;
      m_items[at].magic=0;
      m_items[at].attempt=0;
      m_items[at].sent=false;
      m_items[at].reported=false;
      m_items[at].orders=0;
      return(at);
     }

public:
                     CIntents(void) : m_count(0) { }
   void              Clear(void) { m_count=0; }
   int               Size(void) const { return(m_count); }
   // Where a signal is; -1: not here.
   int               Find(const long id) const
     {
      int at=Place(id);
      return(at<m_count && m_items[at].id==id ? at : -1);
     }
   long              Id(const int at) const { return(m_items[at].id); }
   long              Magic(const int at) const { return(m_items[at].magic); }
   int               Attempt(const int at) const { return(m_items[at].attempt); }
   bool              WasSent(const int at) const { return(m_items[at].sent); }
   bool              IsReported(const int at) const { return(m_items[at].reported); }
   int               Orders(const int at) const { return(m_items[at].orders); }
   void              Claim(const long id,const long magic,const int attempt)
     {
      int at=Make(id);
      m_items[at].magic=magic;
      m_items[at].attempt=attempt;
      m_items[at].reported=false;
     }
   void              Send(const long id,const int orders)
     {
      int at=Make(id);
      m_items[at].sent=true;
      m_items[at].orders=orders;
     }
   void              Settle(const long id) { m_items[Make(id)].reported=true; }
   // Some of these may have been sent although nothing says so.
   void              Distrust(void)
     {
      for(int i=0; i<m_count; i++)
         if(!m_items[i].reported)
            m_items[i].sent=true;
     }
  };
#endif
//+------------------------------------------------------------------+
