/* Locks on folders: one holder, who is named; free when the holder dies; not held by a program that the holder starts; and
 * a file system that knows no locks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"
#include "support.h"

static void take(folder_lock *lock)
{
    grpo_error err = {0};
    bool refused;
    assert_ok(folder_lock_take(lock, &refused, test_folder(), &err), err);
    assert_false(refused);
    assert_true(lock->fd >= 0);
}

static void a_second_holder_is_refused_by_name(void **state)
{
    (void)state;
    folder_lock first, second;
    grpo_error err = {0};
    bool refused;
    char name[64];
    take(&first);
    assert_int_equal(folder_lock_take(&second, &refused, test_folder(), &err), GRPO_ERR_CONFIG);
    assert_int_equal(second.fd, -1);
    assert_false(refused);
    snprintf(name, sizeof name, "%s is in use by process %ld on ", test_folder(), (long)getpid());
    assert_ptr_equal(strstr(err.message, name), err.message);
    folder_lock_release(&first);
    take(&second);
    folder_lock_release(&second);
}

/* A child takes the lock, says so and waits to be killed. */
static pid_t hold_in_child(void)
{
    int ends[2];
    char said = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        folder_lock lock;
        bool refused;
        said = folder_lock_take(&lock, &refused, test_folder(), NULL) == GRPO_OK ? 'y' : 'n';
        if (write(ends[1], &said, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &said, 1), 1);
    close(ends[0]);
    assert_int_equal(said, 'y');
    return child;
}

static void a_dead_holder_holds_nothing(void **state)
{
    (void)state;
    folder_lock lock;
    grpo_error err = {0};
    bool refused;
    char name[64];
    pid_t child = hold_in_child();
    assert_int_equal(folder_lock_take(&lock, &refused, test_folder(), &err), GRPO_ERR_CONFIG);
    snprintf(name, sizeof name, "process %ld ", (long)child);
    assert_non_null(strstr(err.message, name));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    take(&lock);
    folder_lock_release(&lock);
}

static void a_started_program_does_not_hold_it(void **state)
{
    (void)state;
    folder_lock lock;
    take(&lock);
    pid_t child = fork();
    if (child == 0) {
        execlp("sleep", "sleep", "30", (char *)NULL);
        _exit(127);
    }
    folder_lock_release(&lock);
    folder_lock again = {-1};
    for (int i = 0; i < 200 && again.fd < 0; i++) { /* until the child has come to its exec */
        bool refused;
        folder_lock_take(&again, &refused, test_folder(), NULL);
        usleep(10000);
    }
    assert_int_equal(waitpid(child, NULL, WNOHANG), 0); /* it still runs */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(again.fd >= 0);
    folder_lock_release(&again);
}

/* As NFS without its lock service answers. The filter cannot be taken away, hence the child. */
static int take_where_locks_are_refused(void)
{
    folder_lock lock;
    grpo_error err = {0};
    bool refused;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOLCK), SCMP_SYS(flock), 0) != 0 || seccomp_load(filter) != 0)
        return 77;
    seccomp_release(filter);
    return folder_lock_take(&lock, &refused, test_folder(), &err) == GRPO_OK && refused && lock.fd == -1 &&
                   strstr(err.message, strerror(ENOLCK))
               ? 0
               : 1;
}

static void where_locks_are_refused_the_caller_is_told(void **state)
{
    (void)state;
    int status;
    test_folder(); /* made here, so that the child does not remove it */
    pid_t child = fork();
    if (child == 0)
        _exit(take_where_locks_are_refused());
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: this environment allows no seccomp filter\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_holder_is_refused_by_name),
        cmocka_unit_test(a_dead_holder_holds_nothing),
        cmocka_unit_test(a_started_program_does_not_hold_it),
        cmocka_unit_test(where_locks_are_refused_the_caller_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
