# Makes host_scripts.c, so that codec-host carries its own scripts; and checks
# that JavaScriptCore exports what its headers leave out (jsc.h).
set(bodies)
foreach(name prelude shims lookup)
  set(f ${CMAKE_SOURCE_DIR}/codecs/host/${name}.js)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${f})
  file(READ ${f} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND bodies "const char scripts_${name}[] = {${bytes}0};\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/host_scripts.c CONTENT
"/* From codecs/host, made by embed.cmake. */
#include \"codecs/host/scripts.h\"
${bodies}")
target_sources(host PRIVATE ${CMAKE_BINARY_DIR}/host_scripts.c)

include(CheckLibraryExists)
foreach(f JSContextGroupSetExecutionTimeLimit JSScriptCreateFromString)
  check_library_exists(javascriptcoregtk-4.1 ${f} "" HAVE_${f})
  if(NOT HAVE_${f})
    message(FATAL_ERROR "JavaScriptCore does not export ${f} (codecs/host/jsc.h)")
  endif()
endforeach()
