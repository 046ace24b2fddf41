"""O dissector do Wireshark, com o `tshark` de verdade: a captura de exemplo e outra, feita agora no loopback."""

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from participante import PRAZO

PASTA = Path(__file__).parent.parent / "docs" / "wireshark"
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


def test_a_captura_de_exemplo_abre_com_todos_os_campos():
    """Cada comando dos dois formatos está na captura que acompanha a página, e cada campo diz o que deve."""
    pacotes = dissecar((PASTA / "conversa.pcapng").read_bytes())
    comandos = {"ATENDENTE", "CLIENTE", "SENHA", "NOME", "DEPARTAMENTO", "RESPOSTA", "FILA", "CONECTADO"}
    comandos |= {"MENSAGEM", "AVISO", "PAUSA", "TRANSFERIR", "FIM", "?"}
    assert comandos == set(valores(pacotes, "comando"))
    assert {"Vendas,Suporte", "OK", "1", "Ana", "Suporte", "(senha)", "VOL"} <= set(valores(pacotes, "argumento"))
    assert {"Yuri", "Ana", "Bia"} == set(valores(pacotes, "remetente"))
    assert {"Olá! Não chegou o meu pedido.", "Obrigado 😀", "Olá, Yuri! 😀"} <= set(valores(pacotes, "texto"))
    assert {"texto", "json"} == set(valores(pacotes, "formato"))
    assert "segredo" not in str(pacotes)
    coladas = next(pacote for pacote in pacotes if "É o 1234." in pacote.get("texto", []))
    assert coladas["texto"] == ["Olá! Não chegou o meu pedido.", "É o 1234.", "Obrigado 😀"]


def test_a_pagina_mostra_a_captura_que_a_acompanha():
    """Cada linha que a página mostra do `tshark` é uma das que ele dá."""
    pagina = (PASTA / "README.md").read_text(encoding="utf-8")
    bloco = re.search(r"conversa\.pcapng -Y fila\n(.*?)```", pagina, re.DOTALL)[1]
    mostradas = [linha for linha in bloco.splitlines() if linha.strip() != "..."]
    assert len(mostradas) > 10
    assert set(mostradas) <= set(tshark((PASTA / "conversa.pcapng").read_bytes(), "-Y", "fila"))


ESTRANHAS = [
    b"oi",
    b"{",
    b"[" * 4000,
    b"\xff\x00",
    b'{"comando":1}',
    b'{"comando":"fim"',
    b'{"comando":"mensagem"}',
    b'{"comando":"mensagem","texto":{}}',
    b'{"comando":"fila","posicao":NaN}',
    b'{"comando":"fila","posicao":0x10}',
    b'{"senha":"segredo"',
]

ADIANTADA = "respostas antes das perguntas"
ANTIGA = "começada antes da captura"

# Por conversa, o que se diz, na ordem: quem fala (o cliente ou o servidor), o quê, e em pedaços de quantos bytes.
CONVERSAS = {
    "partidas e coladas": [
        ("C", b"ATENDENTE:*\n", 1),
        ("S", b"SENHA:\n", 100),
        ("C", b"segredo\n", 1),
        ("S", b"NOME:\n", 1),
        ("C", b"Ana\n", 1),
        ("S", "FILA:OK\nCONECTADO:José\n[José]: ação 😀\n".encode(), 1),
        ("C", "um\n[Ana]: dois\n[José]: três\nFILA:2\nFILA:\n \nFIM:\r\nquatro".encode(), 1000),
        ("C", b"\n", 1),
    ],
    ADIANTADA: [
        ("C", b"ATENDENTE\nsegredo\nAna\noi\n", 1000),
        ("S", b"SENHA:\nNOME:\nCONECTADO:Yuri\n", 1000),
        ("C", b"de novo\n", 1000),
    ],
    ANTIGA: [
        ("S", b"SENHA:\n", 100),
        ("C", b"segredo\n", 100),
        ("S", "[Yuri]: olá\n".encode(), 100),
        ("C", b"[Ana]: oi\ntudo bem?\n", 100),
        ("S", b"FIM:\n", 100),
    ],
    "a linha longa": [
        ("C", b"CLIENTE\nYuri\n", 1000),
        ("S", b"NOME:\nFILA:1\n", 1000),
        ("C", b"a" * 5000 + b"\nb\n", 10_000),
        ("C", b"c" * 33_000, 1000),
        ("C", b"o resto\nd\n", 1000),
    ],
    "sem o fim": [
        ("C", b"ATENDENTE\n", 1000),
        ("S", b"SENHA:\n", 1000),
        ("C", b"segredo", 1000),
    ],
    "json": [
        ("C", b'{"comando":"cliente","nome":"Yuri","departamento":["A","B"],"senha":"segredo"}\n', 7),
        ("S", b'{"comando":"fila","posicao":2}\n{"comando":"fila","posicao":null}\n', 1000),
        ("C", rb'{"comando":"mensagem","texto":"\u00e9 \ud83d\ude00 \"\/ \ud800"}' + b"\n", 1000),
        ("S", '{"comando":"mensagem","nome":"Ana","texto":"olá"}\n'.encode(), 3),
        ("C", b"\n".join(ESTRANHAS) + b"\n", 10_000),
        ("S", b"FIM:recusado\n", 100),
    ],
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
    for de_quem, dados, tamanho in falas:
        fala, ouve = (cliente, servidor) if de_quem == "C" else (servidor, cliente)
        for inicio in range(0, len(dados), tamanho):
            pedaco = dados[inicio : inicio + tamanho]
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
    ficha = importlib.util.spec_from_file_location("capturar", PASTA / "capturar.py")
    modulo = importlib.util.module_from_spec(ficha)
    ficha.loader.exec_module(modulo)
    with socket.create_server(("127.0.0.1", 0)) as ouvinte, contextlib.ExitStack() as pilha:
        antigos = pilha.enter_context(conectados(ouvinte))
        try:
            captura = pilha.enter_context(modulo.Captura(ouvinte.getsockname()[1]))
        except OSError as erro:
            pytest.skip(f"não se pode capturar no loopback: {' '.join(str(erro).split())[:160]}")
        portas = {}
        for nome, falas in CONVERSAS.items():
            par = antigos if nome == ANTIGA else pilha.enter_context(conectados(ouvinte))
            conversar(*par, falas)
            portas[nome] = par[0].getsockname()[1]
        conversar(*pilha.enter_context(conectados(ouvinte)), [("S", b"AVISO:acabou\n", 100)])
        captura.ate(b"AVISO:acabou\n")
        return captura.encerrar(), ouvinte.getsockname()[1], portas


@pytest.fixture(scope="module")
def vistas(gravacao) -> dict[str, list[dict]]:
    """Por conversa, os pacotes dela como o dissector os viu na primeira passada."""
    captura, porta, _ = gravacao
    pacotes = dissecar(captura, porta)
    return {nome: [pacote for pacote in pacotes if pacote["conexao"] == i] for i, nome in enumerate(CONVERSAS)}


def test_linhas_partidas_e_coladas(vistas):
    """Um byte por segmento, ou tudo num só: as mesmas linhas, noutra porta; a senha não aparece."""
    pacotes = vistas["partidas e coladas"]
    assert [(pacote["comando"], pacote.get("argumento")) for pacote in pacotes[:6]] == [
        (["ATENDENTE"], ["*"]),
        (["SENHA"], None),
        (["RESPOSTA"], ["(senha)"]),
        (["NOME"], None),
        (["RESPOSTA"], ["Ana"]),
        (["FILA"], ["OK"]),
    ]
    assert pacotes[7]["remetente"] == ["José"] and pacotes[7]["texto"] == ["ação 😀"]
    assert pacotes[8]["comando"] == ["MENSAGEM"] * 4 + ["FILA", "VAZIA", "FIM"]
    assert pacotes[8]["texto"] == ["um", "dois", "[José]: três", "FILA:2"]
    assert "argumento" not in pacotes[8]  # nem o \r do FIM:
    assert pacotes[9]["texto"] == ["quatro"] and pacotes[9]["remetente"] == ["Ana"]


def test_respostas_antes_das_perguntas(gravacao, vistas):
    """A primeira passada não mostra o que pode ser uma senha; a segunda, que viu as perguntas, sabe qual é."""
    primeira, _, depois = vistas[ADIANTADA]
    assert primeira["argumento"] == ["(talvez uma senha)"] * 3
    assert depois["remetente"] == ["Ana"]
    captura, _, portas = gravacao
    # Quem pede o Decode As pela porta do cliente, e não pela do servidor, também é atendido.
    segunda, *_ = dissecar(captura, portas[ADIANTADA], "-2")
    assert segunda["comando"] == ["ATENDENTE", "RESPOSTA", "RESPOSTA", "MENSAGEM"]
    assert segunda["argumento"] == ["(senha)", "Ana"] and segunda["texto"] == ["oi"]
    assert "segredo" not in str(segunda) + str(vistas)


def test_a_conversa_que_ja_tinha_comecado(vistas):
    """Sem ter visto o começo da conexão, o que já era conversa é conversa, e a resposta à senha não aparece."""
    pacotes = vistas[ANTIGA]
    assert valores(pacotes, "comando") == ["SENHA", "RESPOSTA", "MENSAGEM", "MENSAGEM", "MENSAGEM", "FIM"]
    assert valores(pacotes, "texto") == ["olá", "oi", "tudo bem?"]
    assert valores(pacotes, "remetente") == ["Yuri", "Ana"]


def test_a_linha_longa_nao_se_espera_para_sempre(vistas):
    """Passado o limite, o que veio é mostrado como estranho, até o \\n; a linha seguinte é uma mensagem."""
    *_, inteira, comeco, resto = vistas["a linha longa"]
    assert inteira["comando"] == ["?", "MENSAGEM"] and inteira["texto"] == ["b"]
    assert comeco["comando"] == ["?"] and len(comeco["argumento"][0]) > 100
    assert resto["comando"] == ["?", "MENSAGEM"] and resto["texto"] == ["d"]


def test_a_linha_que_nao_chegou_a_acabar(vistas):
    """O FIN mostra que algo ficou sem \\n, e não o faz passar por resposta."""
    assert valores(vistas["sem o fim"], "comando") == ["ATENDENTE", "SENHA", "?"]
    assert valores(vistas["sem o fim"], "argumento") == ["(talvez uma senha)"]


def test_json_e_bytes_estranhos(vistas):
    """Escapes e pares substitutos são traduzidos; o que não é JSON é mostrado como tal, sem erro de Lua."""
    entrada, posicoes, pergunta, resposta, estranhas, recusa = vistas["json"]
    assert entrada["comando"] == ["CLIENTE"] and entrada["argumento"] == ["Yuri", "A,B", "(senha)"]
    assert posicoes["comando"] == ["FILA", "FILA"] and posicoes["argumento"] == ["2", "OK"]
    assert pergunta["texto"] == ['é 😀 "/ \ufffd'] and pergunta["remetente"] == ["Yuri"]
    assert resposta["texto"] == ["olá"] and resposta["remetente"] == ["Ana"]
    assert estranhas["comando"] == ["?"] * len(ESTRANHAS)
    assert set(valores(vistas["json"][:-1], "formato")) == {"json"}
    assert recusa["comando"] == ["FIM"] and recusa["formato"] == ["texto"]
