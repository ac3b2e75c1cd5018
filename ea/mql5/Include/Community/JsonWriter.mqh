//+------------------------------------------------------------------+
//|                                                   JsonWriter.mqh |
//| JSON of one flat object, in plain ASCII.                         |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_JSONWRITER_MQH
#define COMMUNITY_JSONWRITER_MQH

//+------------------------------------------------------------------+
//| A text as JSON, in plain ASCII, so that no code page matters.    |
//+------------------------------------------------------------------+
string JsonQuoted(const string text)
  {
   string out="\"";
   int    length=StringLen(text);
   for(int i=0; i<length; i++)
     {
      ushort c=StringGetCharacter(text,i);
      if(c=='"' || c=='\\')
         out+="\\"+ShortToString(c);
      else
         if(c<32 || c>126)
            out+=StringFormat("\\u%04x",(int)c);
         else
            out+=ShortToString(c);
     }
   return(out+"\"");
  }

class CJsonWriter
  {
private:
   string            m_text;

public:
   // A string that was never set is not the empty one.
                     CJsonWriter(void) : m_text("") { }
   void              Raw(const string name,const string json)
     {
      m_text+=(m_text=="" ? "" : ",")+"\""+name+"\":"+json;
     }
   void              Text(const string name,const string value) { Raw(name,JsonQuoted(value)); }
   void              Integer(const string name,const long value) { Raw(name,IntegerToString(value)); }
   void              Number(const string name,const double value,const int digits=8) { Raw(name,Plain(value,digits)); }
   void              Flag(const string name,const bool value) { Raw(name,value ? "true" : "false"); }
   string            Object(void) const { return("{"+m_text+"}"); }
  };
#endif
//+------------------------------------------------------------------+
