# Makes migrations.c, so that the program carries its own schema.
file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/migrations/*.sql)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
list(SORT files)
set(bodies)
set(rows)
foreach(f ${files})
  get_filename_component(name ${f} NAME)
  string(REGEX MATCH "^0*([1-9][0-9]*)" ignored ${name})
  set(number ${CMAKE_MATCH_1})
  file(READ ${f} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND bodies "static const char sql_${number}[] = {${bytes}0};\n")
  string(APPEND rows "    {${number}, \"${name}\", sql_${number}},\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/migrations.c CONTENT
"/* From migrations/, made by embed.cmake. */
#include \"server/store/migrate.h\"
${bodies}
const struct migration migrations[] = {
${rows}    {0, 0, 0},
};
")
target_sources(store PRIVATE ${CMAKE_BINARY_DIR}/migrations.c)
