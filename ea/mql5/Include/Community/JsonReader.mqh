//+------------------------------------------------------------------+
//|                                                   JsonReader.mqh |
//| JSON as the platform speaks it: an object or a list of objects,  |
//| whose values are scalars or lists of numbers. What is not JSON   |
//| is refused whole; values that nobody asks for are passed over.   |
//+------------------------------------------------------------------+
#ifndef COMMUNITY_JSONREADER_MQH
#define COMMUNITY_JSONREADER_MQH

// Deeper than any answer of the platform.
#define JSON_DEPTH_MAX 16

class CJsonReader
  {
private:
   string            m_text;
   int               m_at;
   int               m_length;
   // Scalars: of which object, under which name, and as what.
   int               m_objects[];
   string            m_names[];
   string            m_values[];
   bool              m_quoted[];
   int               m_count;
   int               m_size;

   ushort            Peek(void) const
     {
      return(m_at<m_length ? StringGetCharacter(m_text,m_at) : (ushort)0);
     }
   void              SkipSpace(void)
     {
      while(m_at<m_length)
        {
         ushort c=StringGetCharacter(m_text,m_at);
         if(c!=' ' && c!='\t' && c!='\r' && c!='\n')
            return;
         m_at++;
        }
     }
   bool              ReadUnit(string &out)
     {
      int value=0;
      for(int i=0; i<4; i++)
        {
         ushort c=Peek();
         int    digit=(c>='0' && c<='9') ? c-'0' : (c>='a' && c<='f') ? c-'a'+10 : (c>='A' && c<='F') ? c-'A'+10 : -1;
         if(digit<0)
            return(false);
         value=value*16+digit;
         m_at++;
        }
      out+=ShortToString((ushort)value);
      return(true);
     }
   bool              ReadEscape(string &out)
     {
      ushort c=Peek();
      m_at++;
      switch(c)
        {
         case '"':
         case '\\':
         case '/':
            out+=ShortToString(c);
            return(true);
         case 'n':
            out+="\n";
            return(true);
         case 't':
            out+="\t";
            return(true);
         case 'r':
            out+="\r";
            return(true);
         case 'b':
         case 'f':
            out+=" ";
            return(true);
         case 'u':
            return(ReadUnit(out));
        }
      return(false);
     }
   bool              ReadString(string &out)
     {
      out="";
      if(Peek()!='"')
         return(false);
      m_at++;
      while(m_at<m_length)
        {
         ushort c=StringGetCharacter(m_text,m_at);
         if(c=='"')
           {
            m_at++;
            return(true);
           }
         if(c<32)
            return(false);
         m_at++;
         if(c!='\\')
            out+=ShortToString(c);
         else
            if(!ReadEscape(out))
               return(false);
        }
      return(false);
     }
   bool              IsScalar(const string text) const
     {
      if(text=="true" || text=="false" || text=="null")
         return(true);
      int length=StringLen(text);
      int digits=0;
      for(int i=0; i<length; i++)
        {
         ushort c=StringGetCharacter(text,i);
         if(c>='0' && c<='9')
            digits++;
         else
            if(c!='-' && c!='+' && c!='.' && c!='e' && c!='E')
               return(false);
        }
      return(digits>0);
     }
   void              Add(const int object,const string name,const string value,const bool quoted)
     {
      if(object<0)
         return;
      if(m_size==ArraySize(m_names))
        {
         ArrayResize(m_objects,m_size+64);
         ArrayResize(m_names,m_size+64);
         ArrayResize(m_values,m_size+64);
         ArrayResize(m_quoted,m_size+64);
        }
      m_objects[m_size]=object;
      m_names[m_size]=name;
      m_values[m_size]=value;
      m_quoted[m_size]=quoted;
      m_size++;
     }
   bool              ReadScalar(const int object,const string name)
     {
      int start=m_at;
      while(m_at<m_length)
        {
         ushort c=StringGetCharacter(m_text,m_at);
         if(c==',' || c=='}' || c==']' || c==' ' || c=='\n' || c=='\r' || c=='\t')
            break;
         m_at++;
        }
      string value=StringSubstr(m_text,start,m_at-start);
      if(m_at==start || !IsScalar(value))
         return(false);
      Add(object,name,value,false);
      return(true);
     }
   // Objects at the top, or in the list at the top, are the ones that are kept.
   bool              ReadList(const int object,const string name,const int depth)
     {
      m_at++;
      SkipSpace();
      if(Peek()==']')
        {
         m_at++;
         return(true);
        }
      while(m_at<m_length)
        {
         if(!ReadValue(object,name,depth+1))
            return(false);
         SkipSpace();
         ushort c=Peek();
         m_at++;
         if(c==']')
            return(true);
         if(c!=',')
            return(false);
        }
      return(false);
     }
   bool              ReadObject(const int depth)
     {
      int object=-1;
      if(depth<=1)
        {
         object=m_count;
         m_count++;
        }
      m_at++;
      SkipSpace();
      if(Peek()=='}')
        {
         m_at++;
         return(true);
        }
      while(m_at<m_length)
        {
         string name;
         SkipSpace();
         if(!ReadString(name))
            return(false);
         SkipSpace();
         if(Peek()!=':')
            return(false);
         m_at++;
         // A list of the top's object is deeper than the objects in a list at the top.
         if(!ReadValue(object,name,depth+2))
            return(false);
         SkipSpace();
         ushort c=Peek();
         m_at++;
         if(c=='}')
            return(true);
         if(c!=',')
            return(false);
        }
      return(false);
     }
   bool              ReadValue(const int object,const string name,const int depth)
     {
      if(depth>JSON_DEPTH_MAX)
         return(false);
      SkipSpace();
      ushort c=Peek();
      if(c=='{')
         return(ReadObject(depth));
      if(c=='[')
         return(ReadList(object,name,depth));
      if(c=='"')
        {
         string value;
         if(!ReadString(value))
            return(false);
         Add(object,name,value,true);
         return(true);
        }
      return(ReadScalar(object,name));
     }
   int               Find(const int object,const string name,const int skip=0) const
     {
      int seen=0;
      for(int i=0; i<m_size; i++)
        {
         if(m_objects[i]==object && m_names[i]==name)
           {
            if(seen==skip)
               return(i);
            seen++;
           }
        }
      return(-1);
     }

public:
                     CJsonReader(void) : m_text(""),m_at(0),m_length(0),m_count(0),m_size(0) { }
   // False for what is no JSON.
   bool              Parse(const string text)
     {
      m_text=text;
      m_at=0;
      m_length=StringLen(text);
      m_count=0;
      m_size=0;
      if(!ReadValue(-1,"",0))
         return(false);
      SkipSpace();
      return(m_at==m_length);
     }
   // Objects at the top.
   int               Count(void) const { return(m_count); }
   // False also for null.
   bool              Has(const int object,const string name) const
     {
      int at=Find(object,name);
      return(at>=0 && (m_quoted[at] || m_values[at]!="null"));
     }
   string            Text(const int object,const string name) const
     {
      int at=Find(object,name);
      return(at>=0 && (m_quoted[at] || m_values[at]!="null") ? m_values[at] : "");
     }
   double            Number(const int object,const string name) const
     {
      return(StringToDouble(Text(object,name)));
     }
   long              Integer(const int object,const string name) const
     {
      return(StringToInteger(Text(object,name)));
     }
   // The items of a list of numbers.
   int               Integers(const int object,const string name,long &out[]) const
     {
      int count=0;
      ArrayResize(out,0);
      for(int at=Find(object,name,count); at>=0; at=Find(object,name,count))
        {
         count++;
         ArrayResize(out,count);
         out[count-1]=StringToInteger(m_values[at]);
        }
      return(count);
     }
  };

#endif
//+------------------------------------------------------------------+
