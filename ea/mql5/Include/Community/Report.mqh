//+------------------------------------------------------------------+
//|                                                       Report.mqh |
//| What became of a signal or a trade: written into the journal     |
//| first, delivered in order until the platform has taken it.       |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_REPORT_MQH
#define COMMUNITY_REPORT_MQH

// How long one turn goes on delivering: signals must not wait for a long queue of reports.
#define DELIVERY_MS 250

struct Report
  {
   string            status;
   string            signal_id;
   long              id;
   int               attempt;       // 0: of no attempt
   string            action;
   string            symbol;        // the platform's name
   long              ticket;
   long              order;
   long              position;
   long              deal;
   bool              has_volume;
   double            volume;
   double            price;         // 0: none
   double            close_price;   // 0: none
   bool              has_profit;
   double            profit;
   int               digits;        // of its prices
   bool              has_retcode;
   uint              retcode;
   string            message;
   long              execution_ms;  // -1: none
   string            results;       // objects as JSON, separated by commas
   string            covers;        // tickets of deals, and of ended orders as negative numbers, that it accounts for
  };

//+------------------------------------------------------------------+
Report NewReport(const string status)
  {
   Report report;
   report.status=status;
   report.signal_id="";
   report.id=0;
   report.attempt=0;
   report.action="";
   report.symbol="";
   report.ticket=0;
   report.order=0;
   report.position=0;
   report.deal=0;
   report.has_volume=false;
   report.volume=0.0;
   report.price=0.0;
   report.close_price=0.0;
   report.has_profit=false;
   report.profit=0.0;
   report.digits=8;
   report.has_retcode=false;
   report.retcode=0;
   report.message="";
   report.execution_ms=-1;
   report.results="";
   report.covers="";
   return(report);
  }
//+------------------------------------------------------------------+
//| A report that answers this signal.                               |
//+------------------------------------------------------------------+
Report ReportOf(const Signal &signal,const string status,const string message="")
  {
   Report report=NewReport(status);
   report.message=message;
   AnswerTo(signal,report);
   return(report);
  }
//+------------------------------------------------------------------+
void AnswerTo(const Signal &signal,Report &report)
  {
   report.signal_id=signal.signal_id;
   report.id=signal.id;
   report.attempt=signal.attempt;
   report.action=signal.action;
   if(report.symbol=="")
      report.symbol=signal.symbol;
  }
//+------------------------------------------------------------------+
void SetRetcode(Report &report,const uint retcode,const string message)
  {
   report.has_retcode=true;
   report.retcode=retcode;
   report.message=message;
  }
//+------------------------------------------------------------------+
void AddCover(Report &report,const long ticket)
  {
   report.covers+=(report.covers=="" ? "" : ",")+IntegerToString(ticket);
  }
//+------------------------------------------------------------------+
string ReportJson(const Report &report)
  {
   CJsonWriter json;
   if(report.signal_id!="")
      json.Text("signal_id",report.signal_id);
   if(report.id>0)
      json.Integer("id",report.id);
   if(report.attempt>0)
      json.Integer("attempt",report.attempt);
   json.Text("status",report.status);
   if(report.ticket>0)
      json.Integer("ticket",report.ticket);
   if(report.order>0)
      json.Integer("order",report.order);
   if(report.position>0)
      json.Integer("position",report.position);
   if(report.deal>0)
      json.Integer("deal",report.deal);
   if(report.symbol!="")
      json.Text("symbol",report.symbol);
   if(report.action!="")
      json.Text("action",report.action);
   if(report.has_volume)
      json.Number("volume",report.volume);
   if(report.price>0.0)
      json.Number("price",report.price,report.digits);
   if(report.close_price>0.0)
      json.Number("close_price",report.close_price,report.digits);
   if(report.has_profit)
      json.Number("profit",report.profit,(int)AccountInfoInteger(ACCOUNT_CURRENCY_DIGITS));
   if(report.has_retcode)
      json.Integer("retcode",report.retcode);
   if(report.message!="")
      json.Text("message",report.message);
   if(report.execution_ms>=0)
      json.Integer("execution_ms",report.execution_ms);
   json.Text("terminal",g_journal.Terminal());
   if(report.results!="")
      json.Raw("results","["+report.results+"]");
   return(json.Object());
  }
//+------------------------------------------------------------------+
//| What became of a signal, in a few words.                         |
//+------------------------------------------------------------------+
void Answer(const Signal &signal,const string status,const string message="")
  {
   Report report=ReportOf(signal,status,message);
   Send(report);
  }
//+------------------------------------------------------------------+
//| From here on it is delivered, whatever happens.                  |
//+------------------------------------------------------------------+
void Send(const Report &report)
  {
   g_journal.TakeReport(report.id,ReportJson(report),report.covers);
   // One every half minute would drown the rest.
   if(report.action=="PING" && report.status=="executed")
      return;
   PrintFormat("#%I64d %s %s: %s%s %s",report.id,report.action,report.symbol,report.status,
               report.ticket>0 ? ", ticket "+IntegerToString(report.ticket) : "",report.message);
  }
//+------------------------------------------------------------------+
void DeliverReports(void)
  {
   string path="/api/trades/confirm";
   ulong  until=GetTickCount64()+DELIVERY_MS;
   while(g_journal.Waiting()>0 && g_reports.IsReady() && GetTickCount64()<until)
     {
      int status=g_reports.Send("POST",path,g_journal.FirstReport());
      if(status==0)
         return;
      // Only the platform's own word ends a report: a web server in between may answer anything.
      CJsonReader json;
      bool        taken=status>=200 && status<=299;
      if(!json.Parse(g_reports.Answer()) || (taken ? json.Text(0,"status")!="ok" : !json.Has(0,"code")))
        {
         g_reports.NotUnderstood(path,status);
         return;
        }
      g_reports.Understood();
      if(!taken)
         Alert("The platform refuses a report for good (",status,"): ",StringSubstr(g_reports.Answer(),0,EXCERPT_MAX),
               " It was: ",StringSubstr(g_journal.FirstReport(),0,EXCERPT_MAX));
      g_journal.Answered(g_journal.FirstNumber());
     }
  }
#endif
//+------------------------------------------------------------------+
