"""A conexão meio aberta: o outro lado sumiu sem se despedir, e só o keepalive do TCP o descobre.

O cabo que sai é uma regra do firewall: precisa de root, de Linux e do `iptables`.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from participante import Participante

from atendimento import maquina

pytestmark = [
    pytest.mark.demorado,
    pytest.mark.skipif(
        not (shutil.which("iptables") and hasattr(os, "geteuid") and os.geteuid() == 0),
        reason="corta a rede com o iptables, como root",
    ),
]

CURTOS = {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 3000}
"""Os prazos do servidor, encurtados para 3 segundos."""

YURI_DESCONECTOU = "FIM:Atendimento encerrado. O cliente Yuri desconectou."


@contextlib.contextmanager
def sem_cabo(alguem: Participante) -> Iterator[None]:
    """Nada mais passa entre `alguem` e o servidor, nem um FIN nem um RST."""
    pontas = str(alguem.sock.getsockname()[1]), str(alguem.sock.getpeername()[1])
    with contextlib.ExitStack() as pilha:
        for de, para in pontas, pontas[::-1]:  # as duas portas: só esta conexão, e nenhuma outra
            regra = ["INPUT", "-i", "lo", "-p", "tcp", "--sport", de, "--dport", para, "-j", "DROP"]
            subprocess.run(["iptables", "-w", "-I", *regra], check=True)
            pilha.callback(subprocess.run, ["iptables", "-w", "-D", *regra], check=True)
        yield


@pytest.mark.parametrize(
    "prazos, espera", [pytest.param(CURTOS, 10, id="3-segundos"), pytest.param(None, 90, id="prazos-do-programa")]
)
@pytest.mark.parametrize("fala", [False, True], ids=["calado", "com-linhas-sem-confirmacao"])
def test_o_par_de_quem_sumiu_recebe_o_fim(servidor, monkeypatch, prazos, espera, fala):
    """Sem o cabo de Yuri, Ana recebe o `FIM:` e volta à fila, tenha ou não escrito a Yuri nesse tempo."""
    if prazos:
        monkeypatch.setattr(maquina, "KEEPALIVE", prazos)
    yuri, ana = servidor.par()
    ana.sock.settimeout(espera)
    with sem_cabo(yuri):
        if fala:
            ana.envia("você ainda está aí?")
        ana.espera(YURI_DESCONECTOU, "FILA:OK")
        servidor.espera_que_fechem(servidor.aceitas[1])
        yuri.fecha()


def test_quem_sumiu_da_fila_perde_o_lugar(servidor, monkeypatch):
    """Sem o cabo do primeiro da fila, o segundo passa a primeiro, e é ele que o atendente encontra."""
    monkeypatch.setattr(maquina, "KEEPALIVE", CURTOS)
    yuri, beto = servidor.cliente("Yuri", "FILA:1"), servidor.cliente("Beto", "FILA:2")
    with sem_cabo(yuri):
        beto.espera("FILA:1")
        yuri.fecha()
    ana = servidor.atendente("Ana", "CONECTADO:Beto")
    beto.espera("CONECTADO:Ana")
    beto.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Beto desconectou.", "FILA:OK")
