/* The tables of builtin filters, tests, methods and global functions, and how arguments reach them. */
#ifndef TEXT_JINJA_BUILTINS_H
#define TEXT_JINJA_BUILTINS_H

#include "text/jinja_run.h"

/* NULL when there is none of that name. */
const jinja_builtin *jinja_find_filter(const char *name, size_t length);
const jinja_builtin *jinja_find_test(const char *name, size_t length);
const jinja_builtin *jinja_find_method(jinja_value self, const char *name, size_t length);
const jinja_builtin *jinja_find_global(const char *name, size_t length);

/* Calls a builtin with a call's arguments, checked against its parameters as Python would. */
jinja_value jinja_call_builtin(jinja_run *r, const jinja_builtin *b, jinja_value self,
                               const jinja_call *call);

/* Tables, each ended by a nameless entry; each file owns some. */
extern const jinja_builtin jinja_text_filters[], jinja_list_filters[], jinja_lazy_filters[];
extern const jinja_builtin jinja_tests[], jinja_globals[];
extern const jinja_builtin jinja_string_methods[], jinja_string_case_methods[];
extern const jinja_builtin jinja_sequence_methods[], jinja_dict_methods[], jinja_number_methods[];
extern const jinja_builtin jinja_loop_methods[], jinja_cycler_methods[], jinja_dict_function_methods[];

#endif
