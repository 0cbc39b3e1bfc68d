"""Certificates of a root of the soak's own, renewed as programs that renew them do it: key and certificate change in one step."""

import ssl

from process import run

KEY_OPTIONS = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


class Certificates:
    """Certificates for one address. `live` holds the one that is to be used."""

    def __init__(self, folder, address):
        folder.mkdir(parents=True)
        self._folder = folder
        self._address = address
        self._serial = 0
        self.root = folder / "root.pem"
        self._root_key = folder / "root.key"
        self.live = folder / "live"
        may_sign = ["-addext", "keyUsage=critical,keyCertSign"]
        run("openssl", "req", "-x509", *KEY_OPTIONS, "-subj", "/CN=soak root", *may_sign, "-keyout", self._root_key, "-out", self.root)
        self.renew()

    def renew(self):
        """Another certificate with another key, from now on."""
        self._serial += 1
        pair = self._folder / f"pair-{self._serial}"
        pair.mkdir()
        name = ["-subj", f"/CN=soak {self._serial}", "-addext", f"subjectAltName=IP:{self._address}"]
        signed = ["-CA", self.root, "-CAkey", self._root_key, "-addext", "basicConstraints=critical,CA:FALSE"]
        run("openssl", "req", "-x509", *KEY_OPTIONS, *name, *signed, "-keyout", pair / "key.pem", "-out", pair / "certificate.pem")
        fresh = self._folder / "fresh"
        fresh.symlink_to(pair.name)
        fresh.rename(self.live)
        return f"renewed the certificate: {self._serial}"

    def settings(self, port):
        """HTTPS at this port."""
        files = f'certificate = "{self.live}/certificate.pem"\nkey = "{self.live}/key.pem"\n'
        return f'\n[http.tls]\nlisten = ["{self._address}:{port}"]\n{files}'

    def wrong(self, port):
        """What is shown instead of the live certificate, in words."""
        shown = ssl.get_server_certificate((self._address, port), ca_certs=str(self.root))
        live = (self.live / "certificate.pem").read_text(encoding="ascii")
        return None if shown.strip() == live.strip() else f"not certificate {self._serial}"
