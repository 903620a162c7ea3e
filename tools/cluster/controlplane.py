"""etcd, kube-apiserver and, where wanted, kube-controller-manager and kube-scheduler.

Usable alone and without root, on a free port of the loopback: that is what integration tests run
against. Nothing is simulated there, only nodes are missing.

    control = ControlPlane(folder, controller_manager=True)
    control.start()
    … control.kubeconfig, control.token_for("mlpools-operator", "mlpools-system") …
    control.stop()
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tools.binaries import binary
from tools.cluster import kubeconfig
from tools.cluster.addresses import ALONE, API_SERVICE, DNS_DOMAIN, SERVICES, Site, free_port
from tools.cluster.api import Api
from tools.cluster.certificates import Authority, Leaf
from tools.cluster.namespaces import HERE, Entrance
from tools.cluster.processes import Processes
from tools.kubectl import Kubectl
from tools.steps import wait_for

ISSUER = f"https://kubernetes.default.svc.{DNS_DOMAIN}"
# Sockets in the state folder, whose names must look like addresses to etcd.
ETCD, ETCD_PEER = "unix://etcd:1", "unix://etcd:2"
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


class ControlPlane:
    """A control plane in a state folder; what already runs there is used, not started twice.

    Attributes:
        kubeconfig: The administrator's kubeconfig.
        authority: The cluster's certificate authority.
    """

    def __init__(
        self,
        state: Path,
        *,
        controller_manager: bool = False,
        scheduler: bool = False,
        site: Site = ALONE,
        inside: Entrance = HERE,
        audit: bool = False,
        fsync: bool = False,
        die_with_parent: bool = True,
    ) -> None:
        """Describe it; nothing is started yet.

        Args:
            state: Its folder: certificates, data, logs.
            controller_manager: Run the controllers (Jobs make pods, namespaces get their ServiceAccount).
                Without it, pods need no ServiceAccount.
            scheduler: Bind pods to nodes.
            site: Where the API server listens.
            inside: The namespaces to run in.
            audit: Write who asked for what to `logs/audit.jsonl`.
            fsync: Survive a crash of the machine, at the price of slower writes.
            die_with_parent: Have the kernel kill it when the calling thread ends.
        """
        self.state = state.absolute()
        self.authority = Authority(self.state / "pki")
        self.kubeconfig = self.state / "kubeconfig"
        self.audit_log = self.state / "logs" / "audit.jsonl"
        self._controller_manager, self._scheduler = controller_manager, scheduler
        self._site, self._inside, self._audit, self._fsync = site, inside, audit, fsync
        self._processes = Processes(self.state, die_with_parent)

    def start(self) -> None:
        """Start what does not run; return when all of it answers.

        Raises:
            ToolError: a program ended or did not become ready; with its log's path.
        """
        if self._processes.find("kube-apiserver") is None:
            port = self._site.port or free_port(self._site.bind)
            text = kubeconfig.with_token(f"https://{self._site.reach}:{port}", self.ca, self.token)
            kubeconfig.write(self.kubeconfig, text)
            self._run("etcd", etcd_command(binary("etcd"), fsync=self._fsync))
            self._run("kube-apiserver", self._apiserver_command(port))
        self._wait("kube-apiserver", "/readyz")
        self._wait("kube-apiserver", "/api/v1/namespaces/default")
        if self._controller_manager:
            self._run("kube-controller-manager", self._controller_manager_command())
        if self._scheduler:
            self._run("kube-scheduler", self._scheduler_command())
        if self._controller_manager:
            self._wait("kube-controller-manager", "/api/v1/namespaces/default/serviceaccounts/default")

    def stop(self) -> None:
        """Stop it; etcd last, so that nobody writes into nothing."""
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self._processes.stop(name)

    def problem(self) -> str | None:
        """What is wrong with it, in one sentence; None when it is up and answers."""
        wanted = ["etcd", "kube-apiserver"]
        wanted += ["kube-controller-manager"] if self._controller_manager else []
        wanted += ["kube-scheduler"] if self._scheduler else []
        for name in wanted:
            if self._processes.find(name) is None:
                return f"{name} does not run"
        return self.api.not_ready()

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed the API server's."""
        return self.authority.pair.certificate

    @cached_property
    def token(self) -> str:
        """The administrator's token."""
        path = self.authority.folder / "admin.token"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path.read_text()

    @property
    def server(self) -> str:
        """The API server's URL, as this machine's programs reach it."""
        return kubeconfig.server_of(self.kubeconfig)

    @property
    def api(self) -> Api:
        """The API server as its administrator."""
        return Api(self.server, self.ca, self.token)

    def token_for(self, service_account: str, namespace: str = "default") -> str:
        """A token of a ServiceAccount, as its pods would have it; good for a day."""
        kubectl = Kubectl(self.kubeconfig)
        return kubectl.run("create", "token", service_account, "-n", namespace, "--duration=24h").strip()

    def kubeconfig_for(self, service_account: str, namespace: str = "default") -> Path:
        """A kubeconfig of a ServiceAccount, with its RBAC and nothing more."""
        token = self.token_for(service_account, namespace)
        text = kubeconfig.with_token(self.server, self.ca, token)
        return kubeconfig.write(self.state / f"{namespace}.{service_account}.kubeconfig", text)

    def client_kubeconfig(self, leaf: Leaf) -> Path:
        """A kubeconfig with a client certificate, for a component of the cluster."""
        text = kubeconfig.with_certificate(self.server, self.ca, self.authority.issue(leaf))
        return kubeconfig.write(self.authority.folder / f"{leaf.name}.kubeconfig", text)

    def _run(self, name: str, command: Sequence[str | Path]) -> None:
        if self._processes.find(name) is None:
            self._processes.start(name, command, inside=self._inside)

    def _wait(self, name: str, path: str) -> None:
        def reason() -> str | None:
            for needed in ("etcd", name):
                if self._processes.find(needed) is None:
                    raise self._processes.failure(needed)
            return self.api.not_ready(path)

        wait_for(f"{name} ({path})", reason, seconds=180)

    def _apiserver_command(self, port: int) -> list[str | Path]:
        issue, folder = self.authority.issue, self.authority.folder
        serving = issue(Leaf("kube-apiserver", "kube-apiserver", hosts=serving_hosts(self._site)))
        kubelet_client = issue(Leaf("kubelet-client", "kube-apiserver", "system:masters"))
        (folder / "tokens.csv").touch(mode=0o600)
        (folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        command: list[str | Path] = [
            binary("kube-apiserver"),
            f"--etcd-servers={ETCD}",
            f"--bind-address={self._site.bind}",
            f"--secure-port={port}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={SERVICES}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self.authority.public_key('service-account')}",
            f"--service-account-signing-key-file={self.authority.key('service-account')}",
            f"--client-ca-file={self.ca}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={self.ca}",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
        ]
        if self._site.advertise:
            command.append(f"--advertise-address={self._site.advertise}")
        else:  # no pod will look for it, and a loopback address may not stand in an Endpoints object
            command += [f"--advertise-address={self._site.bind}", "--endpoint-reconciler-type=none"]
        if not self._controller_manager:
            command.append("--disable-admission-plugins=ServiceAccount")
        if self._audit:
            (self.state / "audit-policy.yaml").write_text(AUDIT_POLICY)
            command += ["--audit-policy-file=audit-policy.yaml", f"--audit-log-path={self.audit_log}"]
        return command

    def _controller_manager_command(self) -> list[str | Path]:
        user = "system:kube-controller-manager"
        # Without a scheduler there are no nodes, and tests bind pods to names; the garbage collector would
        # take those pods for lost ones after a minute.
        unwanted = () if self._scheduler else ("--controllers=*,-pod-garbage-collector-controller",)
        return [
            binary("kube-controller-manager"),
            f"--kubeconfig={self.client_kubeconfig(Leaf('kube-controller-manager', user))}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.authority.key('service-account')}",
            f"--root-ca-file={self.ca}",
            *unwanted,
            *_unelected(),
        ]

    def _scheduler_command(self) -> list[str | Path]:
        leaf = Leaf("kube-scheduler", "system:kube-scheduler")
        return [binary("kube-scheduler"), f"--kubeconfig={self.client_kubeconfig(leaf)}", *_unelected()]


def etcd_command(etcd: Path, *, fsync: bool) -> list[str | Path]:
    """A single etcd behind a socket in the state folder: no port, and only the folder's owner gets in."""
    return [
        etcd,
        "--name=etcd",
        "--data-dir=etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=etcd={ETCD_PEER}",
        *([] if fsync else ["--unsafe-no-fsync"]),
    ]


def serving_hosts(site: Site) -> tuple[str, ...]:
    """Every name and address under which a client may know the API server."""
    service = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{DNS_DOMAIN}",
    )
    addresses = {"127.0.0.1", API_SERVICE, site.reach, site.advertise} - {""}
    return ("localhost", *service, *sorted(addresses))


def _unelected() -> list[str]:
    """For a controller that is alone: no lease, no port, no throttle of its own."""
    return ["--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"]
