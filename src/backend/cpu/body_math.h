/* exp and log of one number, through the same vector code as everywhere. */
static void kernel_exp_one(void *context, int begin, int end, int thread)
{
    scalar_job *job = context;
    (void)begin, (void)end, (void)thread;
    float y[16];
    v16_store(y, v16_exp(v16_set1(job->x)));
    job->y = y[0];
}

static void kernel_log_one(void *context, int begin, int end, int thread)
{
    scalar_job *job = context;
    (void)begin, (void)end, (void)thread;
    float y[16];
    v16_store(y, v16_log(v16_set1(job->x)));
    job->y = y[0];
}
