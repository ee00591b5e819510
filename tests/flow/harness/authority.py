"""A certificate authority of our own, made by openssl(1)."""

import itertools
import ssl
import subprocess


class Authority:
    def __init__(self, directory, name="test authority"):
        self.dir = directory
        self.dir.mkdir(exist_ok=True)
        self.cert, self._key = self.dir / "ca.pem", self.dir / "ca.key"
        self._serial = itertools.count(1)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", self._key, "-out",
                      self.cert)

    @staticmethod
    def _openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True,
                       capture_output=True, timeout=30)

    def issue(self, cert, key, name="localhost", days=2, rsa=False):
        """Writes a new certificate for that host or machine, and its key."""
        request = self.dir / "request.pem"
        extensions = self.dir / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt",
                                         "ec_paramgen_curve:P-256"]
        self._openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj",
                      f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.cert,
                      "-CAkey", self._key, "-set_serial", next(self._serial), "-days",
                      days, "-extfile", extensions, "-out", cert)
        return cert, key

    def client(self, cert=None, key=None):
        """What a meter that trusts this authority uses."""
        context = ssl.create_default_context(cafile=str(self.cert))
        if cert:
            context.load_cert_chain(str(cert), str(key))
        return context
