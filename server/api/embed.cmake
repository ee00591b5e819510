# Makes components.c: what answers look like (components.json), for the OpenAPI
# document.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/server/api/components.json)
file(READ ${CMAKE_SOURCE_DIR}/server/api/components.json hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/components.c CONTENT
"/* From server/api/components.json, made by embed.cmake. */
extern const char openapi_components[];
const char openapi_components[] = {${bytes}0};
")
target_sources(api PRIVATE ${CMAKE_BINARY_DIR}/components.c)
