/* A stand-in for MetaQuotes' programs, in the places where the bridge finds them; which one it is its own name says.
 *
 * mt5setup.exe     installs itself as the other two.
 * metaeditor64.exe writes a log as the compiler does, and the .ex5 unless the source says ERROR.
 * terminal64.exe   reads its configuration by Windows' own functions, shows a window, and as the EA does polls the
 *                  relay and reports the account. The first line of standin-mode.txt says how to misbehave; "once "
 *                  before it: at the next start only.
 */
#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <winhttp.h>

#define POLL_MS 200
#define UPDATE_EVERY 3
#define BACKGROUND RGB(200, 16, 144)

static char mode[64];
static char relay_port[16];
static volatile LONG hanging;

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && !_stricmp(text + length - wanted, end);
}

/* The value of /name:value on the command line, up to a blank. */
static int argument(const char *line, const char *name, char *value, size_t size)
{
    const char *found = strstr(line, name);
    size_t length;
    if (!found) return 0;
    found += strlen(name);
    length = strcspn(found, " \"");
    if (length >= size) return 0;
    memcpy(value, found, length);
    value[length] = 0;
    return 1;
}

static int install(const char *self)
{
    const char *folder = "C:\\Program Files\\MetaTrader 5";
    char target[MAX_PATH];
    CreateDirectoryA("C:\\Program Files", NULL);
    CreateDirectoryA(folder, NULL);
    snprintf(target, sizeof target, "%s\\terminal64.exe", folder);
    if (!CopyFileA(self, target, FALSE)) return 1;
    snprintf(target, sizeof target, "%s\\metaeditor64.exe", folder);
    return CopyFileA(self, target, FALSE) ? 0 : 1;
}

static void write_wide(FILE *file, const char *text)
{
    for (; *text; text++) { fputc(*text, file); fputc(0, file); }
}

static int compile(const char *line)
{
    char source[MAX_PATH], log[MAX_PATH], program[MAX_PATH], content[4096];
    size_t length;
    FILE *file;
    int good;
    if (!argument(line, "/compile:", source, sizeof source) || !argument(line, "/log:", log, sizeof log)) return 2;
    file = fopen(source, "rb");
    if (!file) return 3;
    length = fread(content, 1, sizeof content - 1, file);
    content[length] = 0;
    fclose(file);
    good = !strstr(content, "ERROR");
    file = fopen(log, "wb");
    if (!file) return 4;
    fputc(0xFF, file);
    fputc(0xFE, file);
    write_wide(file, good ? "" : "EA.mq5(1,1) : error 149: 'ERROR' - unexpected token\r\n");
    write_wide(file, good ? "Result: 0 errors, 0 warnings, 10 ms elapsed\r\n" : "Result: 1 errors, 0 warnings\r\n");
    fclose(file);
    if (good) {
        snprintf(program, sizeof program, "%s", source);
        strcpy(program + strlen(program) - 4, ".ex5");
        file = fopen(program, "wb");
        if (file) { fputs("compiled", file); fclose(file); }
    }
    /* The real one returns 1 after a success. */
    return good ? 1 : 0;
}

/* One request to the relay; nothing depends on the answer. */
static void request(HINTERNET connection, const wchar_t *method, const wchar_t *path, char *body)
{
    DWORD length = body ? (DWORD)strlen(body) : 0;
    HINTERNET handle = WinHttpOpenRequest(connection, method, path, NULL, NULL, NULL, 0);
    if (!handle) return;
    if (WinHttpSendRequest(handle, L"Content-Type: application/json\r\n", (DWORD)-1, body, length, length, 0)
        && WinHttpReceiveResponse(handle, NULL)) {
        char answer[512];
        DWORD count;
        while (WinHttpReadData(handle, answer, sizeof answer, &count) && count > 0) { }
    }
    WinHttpCloseHandle(handle);
}

static __attribute__((noreturn)) DWORD WINAPI expert(void *unused)
{
    HINTERNET session = WinHttpOpen(L"EA", WINHTTP_ACCESS_TYPE_NO_PROXY, NULL, NULL, 0);
    HINTERNET connection = WinHttpConnect(session, L"127.0.0.1", (INTERNET_PORT)atoi(relay_port), 0);
    char update[] = "{\"balance\":1000.00,\"equity\":1000.00,\"margin\":0,\"free_margin\":1000.00,\"profit\":0,"
                    "\"connected\":true,\"trade_allowed\":true,\"terminal\":\"standin-1\"}";
    int round;
    (void)unused;
    for (round = 0;; round++) {
        if (!strcmp(mode, "hang") && round == 10) {
            InterlockedExchange(&hanging, 1);
            Sleep(INFINITE);
        }
        request(connection, L"GET",
                L"/api/signals/pending?limit=10&wait_ms=0&protocol=2&terminal=standin-1", NULL);
        if (round % UPDATE_EVERY == 0) request(connection, L"POST", L"/api/account/update", update);
        Sleep(POLL_MS);
    }
}

/* What the terminal was told, as Windows reads it; the EA's input Relay is the relay's port. */
static void configuration(const char *line)
{
    char file[MAX_PATH], values[7][128], set[MAX_PATH], inputs[1024];
    const char *keys[7][2] = { { "Common", "Login" }, { "Common", "Password" }, { "Common", "Server" },
        { "StartUp", "Expert" }, { "StartUp", "Symbol" }, { "StartUp", "Period" }, { "StartUp", "ExpertParameters" } };
    const char *found;
    FILE *log, *parameters;
    int index;
    if (!argument(line, "/config:", file, sizeof file)) return;
    log = fopen("standin.log", "a");
    fprintf(log, "start");
    for (index = 0; index < 7; index++) {
        GetPrivateProfileStringA(keys[index][0], keys[index][1], "", values[index], sizeof values[index], file);
        fprintf(log, " %s=[%s]", keys[index][1], values[index]);
    }
    fprintf(log, "\n");
    fclose(log);
    snprintf(set, sizeof set, "MQL5\\Presets\\%s", values[6]);
    parameters = fopen(set, "rb");
    if (!parameters) return;
    inputs[fread(inputs, 1, sizeof inputs - 1, parameters)] = 0;
    fclose(parameters);
    found = strstr(inputs, "Relay=");
    if (found) sscanf(found, "Relay=%15[0-9]", relay_port);
}

static void read_mode(void)
{
    char line[64] = "";
    FILE *file = fopen("standin-mode.txt", "r");
    if (!file) return;
    if (!fgets(line, sizeof line, file)) line[0] = 0;
    fclose(file);
    line[strcspn(line, "\r\n")] = 0;
    if (!strncmp(line, "once ", 5)) {
        DeleteFileA("standin-mode.txt");
        strcpy(mode, line + 5);
    } else {
        strcpy(mode, line);
    }
}

static LRESULT CALLBACK window(HWND handle, UINT message, WPARAM w, LPARAM l)
{
    switch (message) {
    case WM_TIMER:
        /* A terminal that hangs answers nothing any more, closing included. */
        if (hanging) Sleep(INFINITE);
        return 0;
    case WM_DESTROY: PostQuitMessage(0); return 0;
    }
    return DefWindowProcA(handle, message, w, l);
}

static int update_itself(const char *self, const char *line)
{
    char command[1024];
    STARTUPINFOA start = { 0 };
    PROCESS_INFORMATION process;
    start.cb = sizeof start;
    snprintf(command, sizeof command, "\"%s\" %s", self, line);
    return CreateProcessA(self, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &process) ? 0 : 1;
}

int WINAPI WinMain(HINSTANCE instance, HINSTANCE previous, LPSTR line, int show)
{
    WNDCLASSA class = { 0 };
    char self[MAX_PATH];
    MSG message;
    HWND handle;
    (void)previous;
    (void)show;
    GetModuleFileNameA(NULL, self, sizeof self);
    if (ends_with(self, "mt5setup.exe")) return install(self);
    if (ends_with(self, "metaeditor64.exe")) return compile(line);
    read_mode();
    configuration(line);
    if (!strcmp(mode, "crash")) *(volatile int *)0 = 1;
    if (!strncmp(mode, "exit ", 5)) return atoi(mode + 5);
    if (!strcmp(mode, "update")) return update_itself(self, line);
    class.lpfnWndProc = window;
    class.hInstance = instance;
    class.lpszClassName = "MetaQuotes::MetaTrader::5.00";
    class.hbrBackground = CreateSolidBrush(BACKGROUND);
    RegisterClassA(&class);
    handle = CreateWindowA(class.lpszClassName, "Stand-in", WS_POPUP | WS_VISIBLE, 50, 50, 600, 300, 0, 0, instance, 0);
    SetTimer(handle, 1, 100, NULL);
    if (strcmp(mode, "silent")) CreateThread(NULL, 0, expert, NULL, 0, NULL);
    while (GetMessageA(&message, 0, 0, 0) > 0) { TranslateMessage(&message); DispatchMessageA(&message); }
    return 0;
}
