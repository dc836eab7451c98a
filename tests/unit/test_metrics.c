/* metrics: the text format, escaping, and that docs/metrics.md and the table say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/meaning/metrics.h"

static void text_format(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    metrics_head(&out, METRIC_ROUTE_JOBS);
    metrics_value(&out, METRIC_ROUTE_JOBS, 12, SLICE("demo"), SLICE("queued"));
    metrics_value(&out, METRIC_BROKER_OLDEST_SECONDS, 0.25);
    metrics_value(&out, METRIC_BROKER_ACCEPTED, 9007199254740991.0 / 10);
    assert_string_equal(buf_text(&out), "# HELP otpq_route_jobs Live jobs of a route by state: "
                                        "queued, delayed, in_flight, storing, unshelving.\n"
                                        "# TYPE otpq_route_jobs gauge\n"
                                        "otpq_route_jobs{route=\"demo\",state=\"queued\"} 12\n"
                                        "otpq_broker_oldest_seconds 0.25\n"
                                        "otpq_broker_accepted_total 900719925474099\n");
    buf_free(&out);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    metrics_value(&out, METRIC_ROUTE_PAUSED, 1, SLICE("a\"b\\c\nd"));
    assert_string_equal(buf_text(&out), "otpq_route_paused{route=\"a\\\"b\\\\c\\nd\"} 1\n");
    buf_free(&out);
}

static void expected_line(const struct metric_row *row, struct buf *out)
{
    buf_printf(out, "| `%s` | %s |", row->name, metric_type_names[row->type]);
    for (int i = 0; i < METRIC_LABELS_MAX && row->labels[i] != NULL; i++) {
        buf_printf(out, "%s `%s`", i == 0 ? "" : ",", row->labels[i]);
    }
    buf_printf(out, " | %s |\n", row->help);
}

static void docs_list_the_table(void **state)
{
    (void)state;
    FILE *f = fopen("docs/metrics.md", "r");
    assert_non_null(f);
    struct buf expected, found;
    buf_init(&expected, 65536);
    buf_init(&found, 65536);
    for (int m = 0; m < METRICS; m++) {
        assert_non_null(metric_rows[m].name);
        expected_line(&metric_rows[m], &expected);
    }
    char line[512];
    while (fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "| `", 3) == 0) {
            buf_puts(&found, line);
        }
    }
    assert_int_equal(fclose(f), 0);
    assert_string_equal(buf_text(&found), buf_text(&expected));
    buf_free(&expected);
    buf_free(&found);
}

static void names_follow_the_rules(void **state)
{
    (void)state;
    for (int m = 0; m < METRICS; m++) {
        const char *name = metric_rows[m].name;
        size_t n = strlen(name);
        bool total = n > 6 && strcmp(name + n - 6, "_total") == 0;
        assert_int_equal(total, metric_rows[m].type == METRIC_COUNTER);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), n);
        assert_int_equal(strncmp(name, "otpq_", 5), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_format),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(docs_list_the_table),
        cmocka_unit_test(names_follow_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
