/* The calls of libnbd's fuzzing client, unchanged, on a server behind a unix socket: as it is, the
 * client hears only files, or an nbdkit that it waits for without end.
 */
#define main wrapper_main
#include "libnbd-fuzz-wrapper.c"
#undef main

#include <sys/un.h>

int
main (int argc, char *argv[])
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int sock;

  if (argc != 2 || strlen (argv[1]) >= sizeof address.sun_path) {
    fprintf (stderr, "libnbd-fuzz-client socket\n");
    return EXIT_FAILURE;
  }
  strcpy (address.sun_path, argv[1]);
  sock = socket (AF_UNIX, SOCK_STREAM, 0);
  if (sock == -1 || connect (sock, (struct sockaddr *) &address, sizeof address) == -1) {
    perror (argv[1]);
    return EXIT_FAILURE;
  }
  client (sock);
  return EXIT_SUCCESS;
}
