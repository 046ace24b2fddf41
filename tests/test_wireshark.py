"""O dissector do Wireshark, com o `tshark` de verdade: a captura de exemplo e outra, feita agora no loopback."""

import importlib.util
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from participante import PRAZO

PASTA = Path(__file__).parent.parent / "docs" / "wireshark"
CAMPOS = ("comando", "argumento", "remetente", "texto", "formato")

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="sem o tshark")
no_linux = pytest.mark.skipif(sys.platform != "linux", reason="captura na interface lo")


def dissecar(captura, porta=12345, passadas=1):
    """O que o dissector viu: por pacote, {campo: [valores]}. Nenhum erro de Lua.

    A segunda passada é a de quem clica num pacote, e tem de ver o mesmo que a primeira.
    """
    comando = ["tshark", "-X", f"lua_script:{PASTA / 'fila.lua'}", "-r", str(captura), "-Y", "fila", "-T", "fields"]
    comando += ["-d", f"tcp.port=={porta},fila", "-E", "separator=\x1f", "-E", "aggregator=\x1e"]
    for campo in CAMPOS:
        comando += ["-e", f"fila.{campo}"]
    comandos = [comando, [*comando, "-2"]][:passadas]
    saidas = [subprocess.run(comando, capture_output=True, timeout=60) for comando in comandos]
    assert len({saida.stdout for saida in saidas}) == 1
    erros = saidas[-1].stderr.decode()
    assert "Lua" not in erros and "fila.lua" not in erros, erros
    return [
        {campo: valor.split("\x1e") for campo, valor in zip(CAMPOS, linha.split("\x1f")) if valor}
        for linha in saidas[0].stdout.decode(errors="replace").split("\n")[:-1]
    ]


def valores(pacotes, campo):
    return [valor for pacote in pacotes for valor in pacote.get(campo, [])]


def test_a_captura_de_exemplo_abre_com_todos_os_campos():
    """Cada comando dos dois formatos está na captura que acompanha a página, e cada campo diz o que deve."""
    pacotes = dissecar(PASTA / "conversa.pcapng", passadas=2)
    comandos = {"ATENDENTE", "CLIENTE", "SENHA", "NOME", "DEPARTAMENTO", "RESPOSTA", "FILA", "CONECTADO"}
    comandos |= {"MENSAGEM", "AVISO", "PAUSA", "TRANSFERIR", "FIM", "?"}
    assert comandos == set(valores(pacotes, "comando"))
    assert {"Vendas,Suporte", "OK", "1", "Ana", "Suporte", "(senha)"} <= set(valores(pacotes, "argumento"))
    assert {"Yuri", "Ana", "Bia"} == set(valores(pacotes, "remetente"))
    assert {"Olá! Não chegou o meu pedido.", "Obrigado 😀", "Olá, Yuri! 😀"} <= set(valores(pacotes, "texto"))
    assert {"texto", "json"} == set(valores(pacotes, "formato"))
    assert "segredo" not in str(pacotes)
    coladas = next(pacote for pacote in pacotes if "É o 1234." in pacote.get("texto", []))
    assert coladas["texto"] == ["Olá! Não chegou o meu pedido.", "É o 1234.", "Obrigado 😀"]


@pytest.fixture
def capturar():
    """Escuta o loopback numa porta, enquanto um servidor e um cliente de roteiro dizem o que o teste mandar."""
    ficha = importlib.util.spec_from_file_location("capturar", PASTA / "capturar.py")
    modulo = importlib.util.module_from_spec(ficha)
    ficha.loader.exec_module(modulo)

    def capturar(tmp_path, *falas):
        with socket.create_server(("127.0.0.1", 0)) as ouvinte:
            porta = ouvinte.getsockname()[1]
            try:
                captura = modulo.Captura(porta)
            except (OSError, TimeoutError) as erro:
                pytest.skip(f"não se pode capturar no loopback: {erro}")
            with socket.create_connection(("127.0.0.1", porta), PRAZO) as cliente, ouvinte.accept()[0] as servidor:
                for ponta in cliente, servidor:
                    ponta.settimeout(PRAZO)
                    ponta.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for de_quem, dados, tamanho in falas:
                    fala, ouve = (cliente, servidor) if de_quem == "C" else (servidor, cliente)
                    for inicio in range(0, len(dados), tamanho):
                        fala.sendall(dados[inicio : inicio + tamanho])
                        ouve.recv(tamanho, socket.MSG_WAITALL)  # só com este lido o próximo sai num segmento seu
                servidor.sendall(b"AVISO:acabou\n")
                captura.ate(b"AVISO:acabou\n")
            arquivo = tmp_path / "captura.pcapng"
            arquivo.write_bytes(captura.encerrar())
        return dissecar(arquivo, porta)

    return capturar


@no_linux
def test_linhas_partidas_e_coladas(tmp_path, capturar):
    """Um byte por segmento, ou tudo num só: as mesmas linhas, noutra porta; a senha não aparece."""
    conversa = "ATENDENTE:*\nsegredo\nAna\n".encode()
    pacotes = capturar(
        tmp_path,
        ("C", conversa[:12], 1),
        ("S", b"SENHA:\n", 100),
        ("C", conversa[12:20], 1),
        ("S", b"NOME:\n", 1),
        ("C", conversa[20:], 1),
        ("S", "FILA:OK\nCONECTADO:José\n[José]: ação 😀\n".encode(), 1),
        ("C", "um\n[Ana]: dois\n[José]: três\nFILA:2\nFILA:\nFIM:\r\nquatro".encode(), 1000),
        ("C", b"\n", 1),
    )
    assert [(pacote["comando"], pacote.get("argumento")) for pacote in pacotes[:6]] == [
        (["ATENDENTE"], ["*"]),
        (["SENHA"], None),
        (["RESPOSTA"], ["(senha)"]),
        (["NOME"], None),
        (["RESPOSTA"], ["Ana"]),
        (["FILA"], ["OK"]),
    ]
    assert pacotes[7]["remetente"] == ["José"] and pacotes[7]["texto"] == ["ação 😀"]
    assert pacotes[8]["comando"] == ["MENSAGEM"] * 4 + ["FILA", "FIM"]
    assert pacotes[8]["texto"] == ["um", "dois", "[José]: três", "FILA:2"]
    assert pacotes[9]["texto"] == ["quatro"] and pacotes[9]["remetente"] == ["Ana"]


@no_linux
def test_json_e_bytes_estranhos(tmp_path, capturar):
    """Escapes e pares substitutos são traduzidos; o que não é JSON é mostrado como tal, sem erro de Lua."""
    estranhas = [b"oi", b"{", b'{"comando":1}', b"[" * 4000, b'{"comando":"fim"', b"\xff\x00", b'{"comando":"x","nome":[{}]}']
    pacotes = capturar(
        tmp_path,
        ("C", b'{"comando":"cliente","nome":"Yuri","departamento":["A","B"]}\n', 7),
        ("S", b'{"comando":"fila","posicao":2}\n{"comando":"fila","posicao":null}\n', 1000),
        ("C", rb'{"comando":"mensagem","texto":"\u00e9 \ud83d\ude00 \"\\ \ud800"}' + b"\n", 1000),
        ("S", '{"comando":"mensagem","nome":"Ana","texto":"olá"}\n'.encode(), 3),
        ("C", b"\n".join(estranhas) + b"\n", 10_000),
    )
    assert [pacote["comando"] for pacote in pacotes[:4]] == [["CLIENTE"], ["FILA", "FILA"], ["MENSAGEM"], ["MENSAGEM"]]
    assert pacotes[1]["argumento"] == ["2", "OK"]
    assert pacotes[2]["texto"] == ['é 😀 "\\ \ufffd'] and pacotes[2]["remetente"] == ["Yuri"]
    assert pacotes[3]["texto"] == ["olá"] and pacotes[3]["remetente"] == ["Ana"]
    assert pacotes[4]["comando"] == ["?"] * (len(estranhas) - 1) + ["X"]
    assert set(valores(pacotes, "formato")) == {"json"}
