"""Where the API server is and who we are: from the pod's service account or from a kubeconfig."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from kubernetes import client, config
from urllib3.connection import HTTPConnection

#: To connect and to answer. A request that takes longer has failed; watches have time limits of their own.
READ_SECONDS = (5.0, 15.0)
#: The same for writes, and for all about the lease. Connecting is part of what a lease must outlive.
WRITE_SECONDS = (1.0, 3.0)


class ConnectError(Exception):
    """There is no way to the API server; the message says what to do."""


@dataclass(frozen=True)
class Credentials:
    """What a client other than `kubernetes`' needs to log in.

    Attributes:
        authorization: value of the header, empty with a client certificate.
    """

    server: str
    ca_path: str | None
    verify: bool
    authorization: str
    certificate_path: str | None
    key_path: str | None


def load() -> client.Configuration:
    """Read the configuration anew; tokens that rotate are re-read by the client itself.

    ``KUBECONFIG`` wins over the service account, so that an operator under test, or on a laptop, goes
    where its developer says.

    Raises:
        ConnectError: neither of the two is there, or they cannot be read.
    """
    configuration = client.Configuration()
    try:
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        reason = str(error).rstrip(".")
        raise ConnectError(
            f"No access to a Kubernetes cluster: {reason}. Run in a pod, or set KUBECONFIG to a file."
        ) from error
    # Retries belong to the queue, which knows what else is urgent.
    configuration.retries = False
    return configuration


def credentials() -> Credentials:
    """Return what the watches log in with.

    Raises:
        ConnectError: as in ``load``.
    """
    configuration = load()
    return Credentials(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        verify=configuration.verify_ssl,
        authorization=configuration.get_api_key_with_prefix("BearerToken") or "",
        certificate_path=configuration.cert_file,
        key_path=configuration.key_file,
    )


def open_client(connections: int) -> client.ApiClient:
    """Return a client with so many pooled connections.

    Raises:
        ConnectError: as in ``load``.
    """
    configuration = load()
    configuration.connection_pool_maxsize = connections
    configuration.socket_options = [*HTTPConnection.default_socket_options, *_no_late_delivery()]
    api = client.ApiClient(configuration)
    api.user_agent = "mlpools-operator"
    return api


def _no_late_delivery() -> list[tuple[int, int, int]]:
    """Have the kernel drop what it could not deliver in time.

    It would go on trying for a quarter of an hour, even for a closed connection or a stopped process, and a
    write of a former leader would arrive when the network is well again.
    """
    if not hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it
        return []
    return [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * WRITE_SECONDS[1]))]
