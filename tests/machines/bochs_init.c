/* bochs_init.c: the first process of the machine that bochs.py starts. It runs /program with the arguments of the kernel's command
 * line, prints START before and END with its exit code after, and switches the machine off. */
#include <stdio.h>
#include <sys/io.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int status = -1;
    pid_t child;
    (void)argc;
    printf("START\n");
    fflush(stdout);
    child = fork();
    if (child == 0) {
        argv[0] = "/program";
        execv(argv[0], argv);
        _exit(127);
    }
    waitpid(child, &status, 0);
    printf("END %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    tcdrain(1);
    iopl(3);
    for (const char *c = "Shutdown"; *c != '\0'; c++) { /* Bochs ends when it reads this at port 0x8900 */
        outb((unsigned char)*c, 0x8900);
    }
    for (;;) {
        pause();
    }
}
