/* What cgroups allow, in folders as the kernel makes them; times for people. */
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/file.h"
#include "base/machine.h"
#include "support.h"

static char mount[300], membership[300];

static void put(const char *folder, const char *name, const char *text)
{
    grpo_error err;
    char path[600];
    snprintf(path, sizeof path, "%s%s", mount, folder);
    assert_ok(file_make_folder(path, &err), err);
    snprintf(path, sizeof path, "%s%s/%s", mount, folder, name);
    assert_ok(file_write_all(path, text, strlen(text), &err), err);
}

/* A mount of its own for each test. */
static void begin(const char *name, const char *lines)
{
    grpo_error err;
    snprintf(mount, sizeof mount, "%s/%s", test_folder(), name);
    snprintf(membership, sizeof membership, "%s/%s.self", test_folder(), name);
    assert_ok(file_write_all(membership, lines, strlen(lines), &err), err);
}

static machine_limits limits(void)
{
    machine_limits l;
    machine_cgroup_limits(&l, membership, mount);
    return l;
}

static void without_cgroups_there_is_no_limit(void **state)
{
    (void)state;
    begin("none", "");
    machine_limits l = limits();
    assert_true(l.memory == SIZE_MAX && l.memory_left == SIZE_MAX && l.cores == INT_MAX);
    snprintf(membership, sizeof membership, "%s/absent", test_folder());
    l = limits();
    assert_true(l.memory == SIZE_MAX && l.cores == INT_MAX);
}

/* A service of systemd: the group's own file says "max", a slice above it has the limit. */
static void the_least_on_the_way_up_counts(void **state)
{
    (void)state;
    begin("two", "0::/user.slice/run.scope\n");
    put("/user.slice/run.scope", "memory.max", "max\n");
    put("/user.slice/run.scope", "cpu.max", "max 100000\n");
    put("/user.slice", "memory.max", "1000000\n");
    put("/user.slice", "memory.current", "700000\n");
    put("/user.slice", "memory.stat", "anon 400000\ninactive_file 200000\nactive_file 100000\n");
    put("/user.slice", "cpu.max", "250000 100000\n");
    put("", "memory.max", "9000000\n");
    put("", "memory.current", "8900000\n");
    machine_limits l = limits();
    assert_int_equal(l.memory, 1000000);
    assert_int_equal(l.memory_left, 100000); /* of the root: 500,000 are left in the slice */
    assert_int_equal(l.cores, 3);
    put("", "memory.current", "9100000\n");
    assert_int_equal(limits().memory_left, 0);
    put("", "memory.max", "max\n");
    assert_int_equal(limits().memory_left, 500000);
}

/* In a container the path is that of the machine outside; its own group is the mount's root. */
static void in_a_container_the_root_counts(void **state)
{
    (void)state;
    begin("container", "0::/docker/0123\n");
    put("", "memory.max", "5000\n");
    put("", "memory.current", "1000\n");
    put("", "cpu.max", "50000 100000\n");
    machine_limits l = limits();
    assert_int_equal(l.memory, 5000);
    assert_int_equal(l.memory_left, 4000);
    assert_int_equal(l.cores, 1);
}

static void version_one_is_read(void **state)
{
    (void)state;
    begin("one", "9:memory:/a/b\n4:cpu,cpuacct:/a\n3:cpuset:/c\n0::/\n");
    put("/memory/a/b", "memory.limit_in_bytes", "9223372036854771712\n");
    put("/memory/a", "memory.limit_in_bytes", "6000\n");
    put("/memory/a", "memory.usage_in_bytes", "5000\n");
    put("/memory/a", "memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n");
    put("/cpu/a", "cpu.cfs_quota_us", "400000\n");
    put("/cpu/a", "cpu.cfs_period_us", "100000\n");
    put("/cpu", "cpu.cfs_quota_us", "-1\n");
    put("/cpu", "cpu.cfs_period_us", "100000\n");
    put("/cpu/c", "cpu.cfs_quota_us", "100000\n"); /* of cpuset's path: another group */
    put("/cpu/c", "cpu.cfs_period_us", "100000\n");
    machine_limits l = limits();
    assert_int_equal(l.memory, 6000);
    assert_int_equal(l.memory_left, 3000);
    assert_int_equal(l.cores, 4);
}

static void durations_are_for_people(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0 s"}, {59.4, "59 s"}, {59.6, "1 min 00 s"}, {3599, "59 min 59 s"}, {7500, "2 h 05 min"},
                 {100000, "1 d 03 h"}, {NAN, "?"}, {-1, "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        machine_format_seconds(text, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_cgroups_there_is_no_limit),
        cmocka_unit_test(the_least_on_the_way_up_counts),
        cmocka_unit_test(in_a_container_the_root_counts),
        cmocka_unit_test(version_one_is_read),
        cmocka_unit_test(durations_are_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
