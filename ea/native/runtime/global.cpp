// Global variables in memory, and in one small file beside the sandbox.
#include "global.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "clock.hpp"
#include "terminal.hpp"

namespace runtime {

namespace {

// Variables that nobody has used for four weeks are forgotten, as the documentation says.
constexpr long kept_seconds = 4 * 7 * 86400;

struct Variable {
    double value = 0;
    long used_at = 0;
    bool temporary = false;
};

std::string path() { return settings().files + "/.global-variables"; }

std::map<std::string, Variable> &variables() {
    static std::map<std::string, Variable> variables = [] {
        std::map<std::string, Variable> read;
        std::ifstream file(path());
        std::string value, name;
        for (long used_at = 0; file >> used_at >> value && std::getline(file.ignore(), name);)
            if (unix_ms() / 1000 - used_at < kept_seconds) read[name] = {std::strtod(value.c_str(), nullptr), used_at};
        return read;
    }();
    return variables;
}

Variable *find(const mql::string &name) {
    const auto found = variables().find(utf8(name));
    if (found == variables().end()) {
        fail(mql::ERR_GLOBALVARIABLE_NOT_FOUND);
        return nullptr;
    }
    found->second.used_at = unix_ms() / 1000;
    return &found->second;
}

}  // namespace

}  // namespace runtime

namespace mql {

datetime GlobalVariableSet(const string &name, double value) {
    runtime::Variable &variable = runtime::variables()[runtime::utf8(name)];
    variable.value = value;
    variable.used_at = runtime::unix_ms() / 1000;
    return variable.used_at;
}

double GlobalVariableGet(const string &name) {
    const runtime::Variable *variable = runtime::find(name);
    return variable == nullptr ? 0.0 : variable->value;
}

bool GlobalVariableGet(const string &name, double &value) {
    const runtime::Variable *variable = runtime::find(name);
    if (variable != nullptr) value = variable->value;
    return variable != nullptr;
}

bool GlobalVariableCheck(const string &name) { return runtime::variables().contains(runtime::utf8(name)); }
bool GlobalVariableDel(const string &name) { return runtime::variables().erase(runtime::utf8(name)) > 0; }

bool GlobalVariableTemp(const string &name) {
    const bool made = runtime::variables().try_emplace(runtime::utf8(name), 0.0, runtime::unix_ms() / 1000, true).second;
    if (!made) runtime::fail(ERR_GLOBALVARIABLE_EXISTS);
    return made;
}

bool GlobalVariableSetOnCondition(const string &name, double value, double expected) {
    runtime::Variable *variable = runtime::find(name);
    if (variable == nullptr || variable->value != expected) return false;
    variable->value = value;
    return true;
}

datetime GlobalVariableTime(const string &name) {
    const runtime::Variable *variable = runtime::find(name);
    return variable == nullptr ? 0 : variable->used_at;
}

string GlobalVariableName(int index) {
    if (index < 0 || index >= GlobalVariablesTotal()) return NULL;
    return runtime::text(std::next(runtime::variables().begin(), index)->first);
}

int GlobalVariablesTotal() { return static_cast<int>(runtime::variables().size()); }

int GlobalVariablesDeleteAll(const string &prefix, datetime before) {
    return static_cast<int>(std::erase_if(runtime::variables(), [&](const auto &entry) {
        return entry.first.starts_with(runtime::utf8(prefix)) && (before == 0 || entry.second.used_at < before);
    }));
}

void GlobalVariablesFlush() {
    const std::string beside = runtime::path() + ".new";
    {
        std::ofstream file(beside);
        char line[64];
        for (const auto &[name, variable] : runtime::variables()) {
            if (variable.temporary) continue;
            std::snprintf(line, sizeof line, "%ld %.17g ", variable.used_at, variable.value);
            file << line << name << '\n';
        }
    }
    std::rename(beside.c_str(), runtime::path().c_str());
}

}  // namespace mql
