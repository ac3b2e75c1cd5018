//+------------------------------------------------------------------+
//|                                                      Waiting.mqh |
//| Reports that are to be delivered, oldest first.                  |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_WAITING_MQH
#define COMMUNITY_WAITING_MQH

class CWaiting
  {
private:
   long              m_numbers[];
   long              m_signals[];
   string            m_reports[];
   int               m_count;

public:
                     CWaiting(void) : m_count(0) { }
   void              Clear(void) { m_count=0; }
   int               Size(void) const { return(m_count); }
   long              Number(const int at) const { return(m_numbers[at]); }
   long              Id(const int at) const { return(m_signals[at]); }
   string            Text(const int at) const { return(m_reports[at]); }
   void              Add(const long number,const long id,const string json)
     {
      if(m_count==ArraySize(m_numbers))
        {
         ArrayResize(m_numbers,m_count+64);
         ArrayResize(m_signals,m_count+64);
         ArrayResize(m_reports,m_count+64);
        }
      m_numbers[m_count]=number;
      m_signals[m_count]=id;
      m_reports[m_count]=json;
      m_count++;
     }
   void              Drop(const long number)
     {
      int kept=0;
      for(int i=0; i<m_count; i++)
        {
         if(m_numbers[i]==number)
            continue;
         m_numbers[kept]=m_numbers[i];
         m_signals[kept]=m_signals[i];
         m_reports[kept]=m_reports[i];
         kept++;
        }
      m_count=kept;
     }
   // Whether there is one on this signal.
   bool              Has(const long id) const
     {
      for(int i=0; i<m_count; i++)
         if(m_signals[i]==id)
            return(true);
      return(false);
     }
  };
#endif
//+------------------------------------------------------------------+
