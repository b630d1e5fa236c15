"""A real SMTP server that keeps what it is given, for tests.

    smtp.py DIRECTORY [CERTIFICATE KEY USERNAME PASSWORD]

It listens on a free port of 127.0.0.1, prints one line `ready PORT`, and writes every mail that it takes to DIRECTORY as
`1.eml`, `2.eml` and so on; a file that is there is complete. With a certificate it demands STARTTLS and a sign-in. It ends
when its standard input is closed, so that it cannot outlive the test.
"""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keeper:
    """Writes each mail to a file of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        name = os.path.join(self.directory, f"{self.count}.eml")
        with open(name + ".part", "wb") as file:
            file.write(b"X-Envelope-From: %s\r\n" % envelope.mail_from.encode())
            file.write(b"X-Envelope-To: %s\r\n" % ", ".join(envelope.rcpt_tos).encode())
            file.write(envelope.original_content)
        os.rename(name + ".part", name)
        return "250 kept"


def options(arguments):
    """The server's options for the optional arguments."""
    if not arguments:
        return {}
    certificate, key, username, password = arguments
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def authenticate(server, session, envelope, mechanism, given):
        right = LoginPassword(username.encode(), password.encode())
        return AuthResult(success=given == right, handled=False)

    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": authenticate,
    }


async def main(directory, *arguments):
    keeper, given = Keeper(directory), options(arguments)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="localhost", enable_SMTPUTF8=True, **given), "127.0.0.1", 0
    )
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
