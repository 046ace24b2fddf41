"""O dissector do Wireshark, com o `tshark` de verdade: a captura de exemplo e outra, feita agora no loopback."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from participante import PRAZO
from test_protocolo import cortar

PASTA = Path(__file__).parent.parent / "docs" / "wireshark"
sys.path.insert(0, str(PASTA))

from capturar import Captura  # noqa: E402

CAMPOS = ("comando", "argumento", "remetente", "texto", "formato")

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="sem o tshark")


def tshark(captura: bytes, *opcoes: str) -> list[str]:
    """As linhas que o `tshark`, com o dissector, diz da captura."""
    comando = ["tshark", "-X", "lua_script:fila.lua", "-r", "captura.pcapng", *opcoes]
    # Ler não pede privilégios, e o tshark 4.4 não carrega Lua para o root.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    sem_privilegios = {"user": 65534, "group": 65534, "extra_groups": []} if root else {}
    with tempfile.TemporaryDirectory() as pasta:
        os.chmod(pasta, 0o755)
        shutil.copy(PASTA / "fila.lua", pasta)
        Path(pasta, "captura.pcapng").write_bytes(captura)
        ambiente = {**os.environ, "HOME": pasta}
        lido = subprocess.run(comando, cwd=pasta, env=ambiente, capture_output=True, timeout=60, **sem_privilegios)
    assert lido.returncode == 0 and b"Lua" not in lido.stderr, lido.stderr.decode()
    return lido.stdout.decode().split("\n")[:-1]


def dissecar(captura: bytes, porta: int = 12345, *opcoes: str) -> list[dict]:
    """O que o dissector viu: por pacote, a conexão e {campo: [valores]}. Nenhum erro de Lua."""
    opcoes += ("-d", f"tcp.port=={porta},fila", "-Y", "fila or _ws.lua")
    opcoes += ("-T", "fields", "-E", "separator=\x1f", "-E", "aggregator=\x1e")
    for campo in "tcp.stream", "_ws.lua.error", *(f"fila.{campo}" for campo in CAMPOS):
        opcoes += ("-e", campo)
    pacotes = []
    for linha in tshark(captura, *opcoes):
        conexao, erro, *valores = linha.split("\x1f")
        assert not erro, f"erro de Lua no pacote {linha!r}"
        pacotes.append({campo: valor.split("\x1e") for campo, valor in zip(CAMPOS, valores) if valor})
        pacotes[-1]["conexao"] = int(conexao)
    return pacotes


def valores(pacotes: list[dict], campo: str) -> list[str]:
    return [valor for pacote in pacotes for valor in pacote.get(campo, [])]


@pytest.fixture(scope="module")
def do_exemplo() -> tuple[list[dict], list[str]]:
    """A captura que acompanha a página, como o dissector a vê e como o `tshark` a mostra; lidas ao mesmo tempo."""
    captura = (PASTA / "conversa.pcapng").read_bytes()
    with ThreadPoolExecutor(2) as threads:
        pacotes, mostradas = threads.submit(dissecar, captura), threads.submit(tshark, captura, "-Y", "fila")
    return pacotes.result(), mostradas.result()


def test_a_captura_de_exemplo_abre_com_todos_os_campos(do_exemplo):
    """Cada comando dos dois formatos está na captura que acompanha a página, e cada campo diz o que deve."""
    pacotes, _ = do_exemplo
    comandos = "ATENDENTE CLIENTE SENHA NOME DEPARTAMENTO RESPOSTA FILA CONECTADO MENSAGEM AVISO PAUSA TRANSFERIR FIM ?"
    assert set(comandos.split()) == set(valores(pacotes, "comando"))
    assert {"Vendas,Suporte", "OK", "1", "Ana", "Suporte", "(senha)", "VOL"} <= set(valores(pacotes, "argumento"))
    assert {"Yuri", "Ana", "Bia"} == set(valores(pacotes, "remetente"))
    assert {"Olá! Não chegou o meu pedido.", "Obrigado 😀", "Olá, Yuri! 😀"} <= set(valores(pacotes, "texto"))
    assert {"texto", "json"} == set(valores(pacotes, "formato"))
    assert "segredo" not in str(pacotes)
    coladas = next(pacote for pacote in pacotes if "É o 1234." in pacote.get("texto", []))
    assert coladas["texto"] == ["Olá! Não chegou o meu pedido.", "É o 1234.", "Obrigado 😀"]


def test_a_pagina_mostra_a_captura_que_a_acompanha(do_exemplo):
    """Cada linha que a página mostra do `tshark` é uma das que ele dá."""
    pagina = (PASTA / "README.md").read_text(encoding="utf-8")
    bloco = re.search(r"conversa\.pcapng -Y fila\n(.*?)```", pagina, re.DOTALL)[1]
    mostradas = [linha for linha in bloco.splitlines() if linha.strip() != "..."]
    assert len(mostradas) > 10
    assert set(mostradas) <= set(do_exemplo[1])


ESTRANHAS = [b"oi", b"{", b"[" * 4000, b"\xff\x00", b'{"senha":"segredo"', b'{"comando":1}', b'{"comando":"fim"']
ESTRANHAS += [b'{"comando":"mensagem"}', b'{"comando":"mensagem","texto":{}}']
ESTRANHAS += [b'{"comando":"fila","posicao":NaN}', b'{"comando":"fila","posicao":0x10}']

ADIANTADA, ANTIGA, EM_JSON = "respostas antes das perguntas", "começada antes da captura", "json e bytes estranhos"
HOSTIL = "o que mexeria na tela"

# Por conversa, o que se diz, na ordem: quem fala (o cliente ou o servidor), o quê e, se não é de uma vez, em pedaços de
# quantos bytes. E o que se vê: os comandos; os argumentos, os textos e quem os disse, até 10 letras de cada um.
CONVERSAS = {
    # O `FIM:\r` não tem argumento, e o que começa pelo nome de outro é o que se disse.
    "partidas e coladas": (
        [
            ("C", "ATENDENTE:*\n", 1),
            ("S", "SENHA:\n"),
            ("C", "segredo\n", 1),
            ("S", "NOME:\n", 1),
            ("C", "Ana\n", 1),
            ("S", "FILA:OK\nCONECTADO:José\n[José]: ação 😀\n", 1),
            ("C", "um\n[Ana]: dois\n[José]: três\nFILA:2\nFILA:\n \nFIM:\r\nquatro"),
            ("C", "\n"),
        ],
        "ATENDENTE SENHA RESPOSTA NOME RESPOSTA FILA CONECTADO MENSAGEM" + " MENSAGEM" * 4 + " FILA VAZIA FIM MENSAGEM",
        "*|(senha)|Ana|OK|José",
        "ação 😀|um|dois|[José]: tr|FILA:2|quatro",
        "José|Ana|Ana|Ana|Ana|Ana",
    ),
    # O que pode ser uma senha não se mostra.
    ADIANTADA: (
        [("C", "ATENDENTE\nsegredo\nAna\noi\n"), ("S", "SENHA:\nNOME:\nCONECTADO:Yuri\n"), ("C", "de novo\n")],
        "ATENDENTE RESPOSTA RESPOSTA RESPOSTA SENHA NOME CONECTADO MENSAGEM",
        "(talvez um|(talvez um|(talvez um|Yuri",
        "de novo",
        "Ana",
    ),
    # Sem ter visto o começo da conexão, o que já era conversa é conversa.
    ANTIGA: (
        [("S", "SENHA:\n"), ("C", "segredo\n"), ("S", "[Yuri]: olá\n"), ("C", "[Ana]: oi\ntudo?\n"), ("S", "FIM:\n")],
        "SENHA RESPOSTA MENSAGEM MENSAGEM MENSAGEM FIM",
        "(senha)",
        "olá|oi|tudo?",
        "Yuri|Ana",
    ),
    # Passado o limite, o que veio é mostrado como estranho, até o `\n`, sem esperar por ele.
    "a linha longa": (
        [
            ("C", "CLIENTE\nYuri\n"),
            ("S", "NOME:\nFILA:1\n"),
            ("C", "a" * 5000 + "\nb\n"),
            ("C", "c" * 33_000, 1000),
            ("C", "o resto\nd\n"),
        ],
        "CLIENTE RESPOSTA NOME FILA ? MENSAGEM ? ? MENSAGEM",
        "Yuri|1|aaaaaaaaaa|cccccccccc|o resto",
        "b|d",
        "Yuri|Yuri",
    ),
    # O FIN mostra que algo ficou sem `\n`, e não o faz passar por resposta.
    "sem fim": ([("C", "ATENDENTE\n"), ("S", "SENHA:\n"), ("C", "segredo")], "ATENDENTE SENHA ?", "(talvez um", "", ""),
    # Escapes e pares substitutos são traduzidos; o que não é JSON é mostrado como tal.
    EM_JSON: (
        [
            ("C", '{"comando":"cliente","nome":"Yuri","departamento":["A","B"],"senha":"segredo"}\n', 7),
            ("S", '{"comando":"fila","posicao":2}\n{"comando":"fila","posicao":null}\n'),
            ("C", r'{"comando":"mensagem","texto":"\u00e9 \ud83d\ude00 \"\/ \ud800"}' + "\n"),
            ("S", '{"comando":"mensagem","nome":"Ana","texto":"olá"}\n', 3),
            ("C", b"\n".join(ESTRANHAS) + b"\n"),
            ("S", "FIM:recusado\n"),
        ],
        "CLIENTE FILA FILA MENSAGEM MENSAGEM" + " ?" * len(ESTRANHAS) + " FIM",
        "Yuri|A,B|(senha)|2|OK|oi|{|[[[[[[[[[[|\ufffd\ufffd|(talvez um" + '|{"comando"' * 6 + "|recusado",
        'é 😀 "/ \ufffd|olá',
        "Yuri|Ana",
    ),
    # O que escreveria na tela de quem olha, ou forjaria uma linha da lista, aparece escapado.
    HOSTIL: (
        [
            ("C", "CLIENTE\nYuri\n"),
            ("S", "NOME:\nFILA:1\n" + r'{"comando":"mensagem","nome":"A","texto":"a\n\u001b\u2028b"}' + "\n"),
            ("C", "\x1b[2J\rx\n\u202eab\x9bx\na  |  ← FIM:\n\x07"),
        ],
        "CLIENTE RESPOSTA NOME FILA" + " MENSAGEM" * 4 + " ?",
        r"Yuri|1|\x07",
        r"a\x0a\x1b\|\x1b[2J\x0|\u202eab\u|a  |  ← FI",
        "A|Yuri|Yuri|Yuri",
    ),
}


@contextlib.contextmanager
def conectados(ouvinte: socket.socket):
    """As duas pontas de uma conexão: a do cliente e a do servidor."""
    with socket.create_connection(ouvinte.getsockname(), PRAZO) as cliente, ouvinte.accept()[0] as servidor:
        for ponta in cliente, servidor:
            ponta.settimeout(PRAZO)
            ponta.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield cliente, servidor


def conversar(cliente: socket.socket, servidor: socket.socket, falas: list[tuple]) -> None:
    """As duas pontas dizem o que está escrito, e o cliente fecha primeiro."""
    for de_quem, dados, *tamanho in falas:
        fala, ouve = (cliente, servidor) if de_quem == "C" else (servidor, cliente)
        for pedaco in cortar(dados if isinstance(dados, bytes) else dados.encode(), *tamanho or [10_000]):
            fala.sendall(pedaco)
            # Só com este lido o próximo sai num segmento seu.
            assert ouve.recv(len(pedaco), socket.MSG_WAITALL) == pedaco
    cliente.shutdown(socket.SHUT_WR)
    assert servidor.recv(1) == b""


@pytest.fixture(scope="module")
def gravacao() -> tuple[bytes, int, dict[str, int]]:
    """As conversas todas, gravadas do loopback: o arquivo, a porta do servidor e a do cliente de cada uma."""
    if sys.platform != "linux":
        pytest.skip("a captura é na interface lo, do Linux")
    with socket.create_server(("127.0.0.1", 0)) as ouvinte, contextlib.ExitStack() as pilha:
        antigos = pilha.enter_context(conectados(ouvinte))
        try:
            captura = pilha.enter_context(Captura(ouvinte.getsockname()[1]))
        except OSError as erro:
            pytest.skip(f"não se pode capturar no loopback: {' '.join(str(erro).split())[:160]}")
        portas = {}
        for qual, (falas, *_) in CONVERSAS.items():
            par = antigos if qual == ANTIGA else pilha.enter_context(conectados(ouvinte))
            conversar(*par, falas)
            portas[qual] = par[0].getsockname()[1]
        conversar(*pilha.enter_context(conectados(ouvinte)), [("S", "AVISO:acabou\n")])
        captura.ate(b"AVISO:acabou\n")
        return captura.encerrar(), ouvinte.getsockname()[1], portas


@pytest.fixture(scope="module")
def vistas(gravacao) -> dict[str, list[dict]]:
    """Por conversa, os pacotes dela como o dissector os viu na primeira passada."""
    captura, porta, _ = gravacao
    pacotes = dissecar(captura, porta)
    return {qual: [pacote for pacote in pacotes if pacote["conexao"] == i] for i, qual in enumerate(CONVERSAS)}


@pytest.mark.parametrize("qual", CONVERSAS)
def test_o_que_se_ve_de_uma_conversa(vistas, qual):
    """Venham as linhas partidas ou coladas, em que porta for, veem-se os comandos e os textos, e nunca a senha."""
    _, comandos, *esperados = CONVERSAS[qual]
    assert valores(vistas[qual], "comando") == comandos.split()
    for campo, esperado in zip(("argumento", "texto", "remetente"), esperados):
        assert "|".join(valor[:10] for valor in valores(vistas[qual], campo)) == esperado, campo
    assert "segredo" not in str(vistas[qual])


def test_o_formato_e_a_segunda_passada(gravacao, vistas):
    """O formato é o de cada linha; quem já viu as perguntas, e de qualquer das portas, sabe o que era a senha."""
    assert set(valores(vistas[EM_JSON][:-1], "formato")) == {"json"} and vistas[EM_JSON][-1]["formato"] == ["texto"]
    captura, _, portas = gravacao
    hostil = f"tcp.port=={portas[HOSTIL]}"
    with ThreadPoolExecutor(2) as threads:
        # Quem pede o Decode As pela porta do cliente, e não pela do servidor, também é atendido.
        dissecada = threads.submit(dissecar, captura, portas[ADIANTADA], "-2")
        listada = threads.submit(tshark, captura, "-d", f"{hostil},fila", "-Y", f"{hostil} and fila")
    (segunda, *_), lista = dissecada.result(), listada.result()
    assert segunda["comando"] == ["ATENDENTE", "RESPOSTA", "RESPOSTA", "MENSAGEM"]
    assert segunda["argumento"] == ["(senha)", "Ana"] and segunda["texto"] == ["oi"]
    assert len(lista) == 4 and all(linha.isprintable() for linha in lista)
    assert any(linha.endswith(r"→ [Yuri]: a  \x7c  ← FIM:") for linha in lista)
    assert "segredo" not in str(segunda)
