/*
 * jsc.h - JavaScriptCore's C API. Debian's headers leave out a few functions
 * that its library exports and that a bounded engine needs; CMakeLists checks
 * at configure time that they are there.
 */
#pragma once

#include <JavaScriptCore/JavaScript.h>
#include <stdbool.h>

typedef struct OpaqueJSScript *JSScriptRef;

/* `should_stop` runs on the script's thread once it has computed that long;
 * true ends the script, past any catch. It is not armed again by itself. */
void JSContextGroupSetExecutionTimeLimit(JSContextGroupRef group, double s,
                                         bool (*should_stop)(JSContextRef c,
                                                             void *arg),
                                         void *arg);
void JSContextGroupClearExecutionTimeLimit(JSContextGroupRef group);

JSScriptRef JSScriptCreateFromString(JSContextGroupRef group, JSStringRef url,
                                     int first_line, JSStringRef source,
                                     JSStringRef *error, int *error_line);
void JSScriptRelease(JSScriptRef script);
JSValueRef JSScriptEvaluate(JSContextRef c, JSScriptRef script, JSValueRef self,
                            JSValueRef *exception);
