"""Os três programas como as pessoas os usam: `servidor.py`, `cliente.py` e `atendente.py`, de ponta a ponta."""

import contextlib
import csv
import io
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pty", reason="sem pseudoterminais (Windows)")

import resource  # noqa: E402

from atendimento.linha import dobrar  # noqa: E402
from conferidor.regras import NOME_INVALIDO  # noqa: E402
from participante import PRAZO  # noqa: E402
from pseudoterminal import CTRL_C, CTRL_D, ENTER, Conexao, NoShell, NoTerminal, Programa  # noqa: E402

from atendimento.maquina import Nucleos  # noqa: E402
from test_protocolo import casos  # noqa: E402

PROMPT = "Sua mensagem: "
PARA_ANA, PARA_YURI, PARA_BIA = (f"Sua mensagem para {nome}: " for nome in ("Ana", "Yuri", "Bia"))
NA_FILA = "(Você é o número 1 na fila. Por favor, aguarde...)"
LIVRE = "(Aguardando clientes...)"
CONECTADO = "*** Conexão estabelecida! Você está falando com {}. ***"
ENCERRADO = "*** Atendimento encerrado. {}. ***"
CHAT_ENCERRADO, SESSAO_ENCERRADA = "*** Chat encerrado. ***", "*** Sessão encerrada. ***"
COMANDOS = "(Para ver os comandos, /ajuda.)"
ACABOU = "(A conversa acabou; o que está escrito não foi enviado. Enter fecha.)"
NAO_ENVIADO = ["(O que você escrevia não foi enviado. Enter chama o próximo; ↑ traz o texto de", "  volta.)"]
ENTROU = {
    "cliente.py": f"Procurando um atendente...\n{COMANDOS}",
    "atendente.py": f"Você está online e aguardando clientes.\n{COMANDOS}",
}

# Quem usa cada programa.
EU = {"cliente.py": "Yuri", "atendente.py": "Ana"}


class Cena:
    """Quem participa de um teste. O que ela abre é fechado no fim, mesmo que o teste falhe."""

    def __init__(self, pilha: contextlib.ExitStack) -> None:
        self.pilha = pilha
        self.porta = 0

    def servidor(self, *opcoes: str, classe: type[Programa] = Programa, **ambiente: str) -> Programa:
        """Um servidor que já aceita, numa porta livre: é com ele que falam os que vierem depois."""
        argumentos = ("servidor.py", "--host", "127.0.0.1", "--porta", "0", *opcoes)
        servidor = self.pilha.enter_context(classe(*argumentos, ambiente=ambiente))
        servidor.espera_na_tela("Nesta máquina")
        self.porta = int(re.search(r"porta (\d+)\.", servidor.saida)[1])
        return servidor

    def terminal(self, programa: str, *opcoes: str, colunas: int = 80, **ambiente: str) -> NoTerminal:
        argumentos = (programa, *opcoes, "--porta", str(self.porta))
        return self.pilha.enter_context(NoTerminal(*argumentos, colunas=colunas, ambiente=ambiente))

    def por_pipe(self, programa: str, entrada: bytes) -> Programa:
        return self.pilha.enter_context(Programa(programa, "--porta", str(self.porta), entrada=entrada))

    def liga(self) -> Conexao:
        """Alguém que usa `nc`, e ainda não disse nada."""
        return self.pilha.enter_context(Conexao(socket.create_connection(("127.0.0.1", self.porta), PRAZO)))

    def conecta(self, tipo: str, nome: str, ate: str = "FILA:") -> Conexao:
        """Alguém que usa `nc`, identificado e com a primeira resposta já lida."""
        conexao = self.liga()
        conexao.envia(f"{tipo}\n{nome}")
        conexao.espera_na_tela(f"NOME:\n{ate}")
        return conexao

    def conversa(self, *programa: str, **opcoes: object) -> tuple[Conexao, NoTerminal]:
        """Ana, de `nc`, e Yuri num terminal: já conversando, e com o prompt na tela."""
        ana = self.conecta("ATENDENTE", "Ana")
        yuri = self.terminal(*(programa or ["cliente.py"]), "--nome", "Yuri", **opcoes)
        yuri.espera_no_fim(*dobrar(PARA_ANA, yuri.colunas))
        return ana, yuri

    def impostor(self) -> Callable[[], Conexao]:
        """Um servidor que só faz o que o teste manda: devolve o que aceita a conexão seguinte."""
        ouvinte = self.pilha.enter_context(socket.create_server(("127.0.0.1", 0)))
        ouvinte.settimeout(PRAZO)
        self.porta = ouvinte.getsockname()[1]
        return lambda: self.pilha.enter_context(Conexao(ouvinte.accept()[0]))


@pytest.fixture
def cena() -> Iterator[Cena]:
    with contextlib.ExitStack() as pilha:
        yield Cena(pilha)


@pytest.fixture
def abrir(abrir_servidor: Callable, cena: Cena) -> Callable[..., Cena]:
    """Abre um servidor neste processo, e devolve a cena. Nesta ordem: primeiro saem os programas, e só depois ele."""

    def abrir(**opcoes: object) -> Cena:
        cena.porta = abrir_servidor(**opcoes).server_address[1]
        return cena

    return abrir


@pytest.fixture
def fila(abrir: Callable[..., Cena]) -> Cena:
    return abrir()


@pytest.fixture
def loja(abrir: Callable[..., Cena]) -> Cena:
    return abrir(departamentos=("Vendas", "Suporte"))


INICIO = f"{ENTROU['cliente.py']}\n{CONECTADO.format('Ana')}"


# --- A conversa ---------------------------------------------------------------------------------


@pytest.mark.parametrize("opcoes", [(), ("--json",)], ids=["texto", "json"])
def test_conversa_inteira_em_dois_terminais(fila: Cena, opcoes: tuple[str, ...]) -> None:
    """Do nome ao fim, a tela de cada um é exatamente a sessão que se espera ler, fale o cliente o que falar."""
    yuri, ana = fila.terminal("cliente.py", *opcoes), fila.terminal("atendente.py")
    yuri.espera_tela("Digite seu nome:")
    yuri.digita("Yuri" + ENTER)
    tela_de_yuri = f"Digite seu nome: Yuri\n{ENTROU['cliente.py']}\n{NA_FILA}\n"
    yuri.espera_tela(tela_de_yuri + PROMPT)

    ana.espera_tela("Digite seu nome de atendente:")
    ana.digita("Ana" + ENTER)
    tela_de_ana = f"Digite seu nome de atendente: Ana\n{ENTROU['atendente.py']}\n{CONECTADO.format('Yuri')}\n"
    tela_de_yuri += CONECTADO.format("Ana") + "\n"
    ana.espera_tela(tela_de_ana + PARA_YURI)
    yuri.espera_tela(tela_de_yuri + PARA_ANA)

    dito = r'Está em "C:\temp\n" {mesmo}: é [lá] 😀'
    yuri.digita(dito + ENTER)
    tela_de_yuri += f"{PARA_ANA}{dito}\n"
    yuri.espera_tela(tela_de_yuri + PARA_ANA)
    ana.espera_tela(f"{tela_de_ana}[Yuri]: {dito}\n{PARA_YURI}")

    ana.digita(dito + ENTER)
    tela_de_ana += f"[Yuri]: {dito}\n{PARA_YURI}{dito}\n"
    ana.espera_tela(tela_de_ana + PARA_YURI)
    yuri.espera_tela(f"{tela_de_yuri}[Ana]: {dito}\n{PARA_ANA}")

    yuri.digita("/sair" + ENTER)
    assert yuri.espera_fim().endswith(PARA_ANA + "/sair")
    fim = ENCERRADO.format("O cliente Yuri desconectou")
    ana.espera_tela(f"{tela_de_ana}{fim}\n{CHAT_ENCERRADO}\n{LIVRE}\n{PROMPT}")
    assert (yuri.saida.count("\a"), ana.saida.count("\a")) == (1, 1)  # só o par que se forma chama quem está longe


# --- Os comandos da tela ------------------------------------------------------------------------


def test_o_que_o_cliente_digita(fila: Cena) -> None:
    """Só vai ao servidor o que é mensagem ou pedido; dos outros comandos vê-se o efeito, e a ajuda só traz os seus."""
    ana, yuri = fila.conversa()
    for digitado, dito in {
        "/desconhecido e mais": "Comando desconhecido: /desconhecido (veja /ajuda; // envia um texto com /).",
        "/pausa": "Comando desconhecido: /pausa (veja /ajuda; // envia um texto com /).",
        "/sair agora": "(/sair vai sozinho, sem mais nada na linha.)",
        "/help": "(Aqui o comando é /ajuda.)",
        "/QUIT": "(Aqui o comando é /sair.)",
        "/exit": "(Aqui o comando é /sair.)",
        "/Fila": "(Você já está sendo atendido.)",
        "/AJUDA": "  //texto      envia um texto que começa por /",
    }.items():
        yuri.digita(digitado + ENTER)
        yuri.espera_no_fim(dito, PARA_ANA)
    assert re.findall(r"^  (//?\w+) ", yuri.tela, re.MULTILINE) == ["/fila", "/encerrar", "/ajuda", "/sair", "//texto"]
    for digitado in ("   ", "//texto", "FIM:", "depois"):
        yuri.digita(digitado + ENTER)
    enviado = "[Yuri]: /texto\n[Yuri]: FIM:\n[Yuri]: depois\n"
    assert ana.espera_na_tela("depois\n") == f"NOME:\nFILA:OK\nCONECTADO:Yuri\n{enviado}"


def test_o_que_o_atendente_digita(fila: Cena) -> None:
    """Pausa, volta e o fim da conversa; do que não cabe há um aviso, sem que nada mude."""
    ana, tela = fila.terminal("atendente.py", "--nome", "Ana"), f"{ENTROU['atendente.py']}\n{LIVRE}\n"
    for digitado, dito in {
        "/encerrar": "(Nenhuma conversa para encerrar.)",
        "/transferir": "(Diga para onde: /transferir Suporte)",
        "/transferir Suporte": "(Nenhum cliente conectado para transferir.)",
        "Olá?": "(Nenhum cliente conectado; a mensagem não foi enviada.)",
        "/fila": "(Nenhum cliente na fila.)",
        "/pausa": "(Você está em pausa.)",
        "/volta agora": "(/volta vai sozinho, sem mais nada na linha.)",
    }.items():
        ana.espera_tela(tela + PROMPT)
        ana.digita(digitado + ENTER)
        tela += f"{PROMPT}{digitado}\n{dito}\n"
    yuri = fila.conecta("CLIENTE", "Yuri", ate="FILA:1\n")
    ana.digita("/volta" + ENTER)
    ana.espera_tela(f"{tela}{PROMPT}/volta\n{CONECTADO.format('Yuri')}\n{PARA_YURI}")
    ana.digita("/pausa" + ENTER + "Só um")
    ana.espera_no_fim("(Você ficará em pausa depois desta conversa.)", PARA_YURI + "Só um")
    yuri.envia("FIM:")
    fim = ENCERRADO.format("O cliente Yuri encerrou a conversa")
    ana.espera_no_fim(fim, CHAT_ENCERRADO, "(Você está em pausa.)", *NAO_ENVIADO, PROMPT)
    ana.digita("/ajuda" + ENTER + "/volta" + ENTER)
    ana.espera_no_fim(LIVRE, PROMPT)
    comandos = ["/fila", "/encerrar", "/pausa", "/volta", "/transferir", "/ajuda", "/sair", "//texto"]
    assert re.findall(r"^  (//?\w+) ", ana.tela, re.MULTILINE) == comandos
    bia = fila.conecta("CLIENTE", "Bia", ate="CONECTADO:Ana")
    ana.espera_no_fim(CONECTADO.format("Bia"), PARA_BIA)
    ana.digita("/encerrar" + ENTER)
    ana.espera_no_fim(ENCERRADO.format("Você encerrou a conversa"), CHAT_ENCERRADO, LIVRE, PROMPT)
    bia.espera_na_tela("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.\n")


def test_transferir(loja: Cena) -> None:
    """O cliente sabe que foi transferido, segue digitando e fala com o outro; o atendente fica livre."""
    ana, yuri = (loja.terminal(eu, "--nome", EU[eu], "--departamento", "Vendas") for eu in reversed(EU))
    yuri.espera_no_fim(CONECTADO.format("Ana"), PARA_ANA)
    ana.espera_no_fim(CONECTADO.format("Yuri"), PARA_YURI)
    yuri.digita("Bom dia, é que")
    yuri.espera_no_fim(PARA_ANA + "Bom dia, é que")
    ana.digita("/transferir  suporte " + ENTER)
    ana.espera_no_fim(ENCERRADO.format("O cliente Yuri foi transferido para Suporte"), CHAT_ENCERRADO, LIVRE, PROMPT)
    yuri.espera_no_fim("(Você foi transferido para Suporte.)", NA_FILA, PROMPT + "Bom dia, é que")
    bia = loja.conecta("ATENDENTE:Suporte", "Bia", ate="CONECTADO:Yuri\n")
    yuri.espera_no_fim(NA_FILA, CONECTADO.format("Bia"), PARA_BIA + "Bom dia, é que")
    yuri.digita(" caiu." + ENTER)
    bia.espera_na_tela("[Yuri]: Bom dia, é que caiu.\n")


# --- O fim --------------------------------------------------------------------------------------


def test_encerrar_na_fila(fila: Cena) -> None:
    """O cliente que encerra na fila vê o fim, e o programa termina."""
    yuri = fila.terminal("cliente.py", "--nome", "Yuri")
    yuri.espera_no_fim(NA_FILA, PROMPT)
    yuri.digita("/encerrar" + ENTER)
    assert yuri.espera_fim().endswith(f"*** Você saiu da fila. ***\n{SESSAO_ENCERRADA}")


# Com que programa, em que servidor, até onde se chegou, e com que tecla se sai.
SAIDAS = [
    ("cliente.py", {}, "Digite seu nome", CTRL_C),
    ("atendente.py", {"senha": "x"}, "Senha dos atendentes:", CTRL_D),
    ("cliente.py", {"departamentos": ["A"]}, "Departamento", CTRL_C),
    ("cliente.py", {}, NA_FILA, CTRL_D),
]


def test_tecla_de_sair(abrir: Callable) -> None:
    """Ctrl+C e Ctrl+D saem em paz também antes da conversa, e o terminal volta a ser o que era."""
    saindo = []
    for programa, opcoes, ate, saida in SAIDAS:
        cena = abrir(**opcoes)
        saindo.append((cena.terminal(programa, *([] if ate.startswith("Digite") else ["--nome", "X"])), ate, saida))
    for eu, ate, saida in saindo:
        eu.espera_na_tela(ate)
        eu.digita(saida)
        eu.espera_fim()


def test_janela_fechada_no_meio_da_linha(fila: Cena, tmp_path: Path) -> None:
    """Fechar a janela encerra a conversa para o outro, a meia linha não é enviada, e não há traceback."""
    ana, erros = fila.conecta("ATENDENTE", "Ana"), tmp_path / "erros.txt"
    comando = f"exec {sys.executable} cliente.py --nome Yuri --porta {fila.porta} 2> {erros}"
    yuri = fila.pilha.enter_context(NoShell("-c", comando))
    yuri.espera_no_fim(PARA_ANA)
    yuri.digita("meia linha")
    yuri.espera_no_fim(PARA_ANA + "meia linha")
    yuri.fecha_janela()
    assert "meia linha" not in ana.espera_na_tela("Yuri desconectou.\n")
    assert (yuri.processo.wait(PRAZO), erros.read_text()) == (128 + signal.SIGHUP, "")


def test_ctrl_c_no_servidor_no_meio_da_conversa(cena: Cena) -> None:
    """Os dois lados sabem que o servidor acabou, e os programas terminam. Num terminal, todos têm cores."""
    servidor = cena.servidor(classe=NoTerminal)
    ana, yuri = (cena.terminal(programa, "--nome", EU[programa]) for programa in reversed(EU))
    ana.espera_no_fim(CONECTADO.format("Yuri"), PARA_YURI)
    yuri.espera_na_tela(CONECTADO.format("Ana"))
    yuri.digita("meia linha")
    yuri.espera_no_fim(PARA_ANA + "meia linha")
    servidor.digita(CTRL_C)
    yuri.espera_no_fim(ACABOU, PROMPT + "meia linha")
    yuri.digita(ENTER)
    for programa in (yuri, ana):
        assert "*** Servidor encerrado. ***" in programa.espera_fim()
        assert "\x1b[32m*** Conexão" in programa.saida
    assert "Encerrando." in servidor.espera_fim() and "\x1b[36m[MATCHMAKER]" in servidor.saida


@casos("rst, aviso", {"fim": (False, "Desconectado do servidor."), "rst": (True, "A conexão com o servidor caiu.")})
def test_o_servidor_some_no_meio_da_conversa(cena: Cena, rst: bool, aviso: str) -> None:
    """O programa diz como foi, e termina."""
    aceita = cena.impostor()
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    with aceita() as servidor:
        servidor.envia("NOME:\nCONECTADO:Ana")
        servidor.espera_na_tela("CLIENTE\nYuri\n")
        yuri.espera_no_fim(PARA_ANA)
        servidor.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", rst, 0))
    assert yuri.espera_fim() == f"{INICIO}\n*** {aviso} ***"


# --- Sem terminal -------------------------------------------------------------------------------


def test_conversa_por_pipe(loja: Cena) -> None:
    """O fim da entrada não corta a conversa que ela pediu; a saída não tem prompt, cores nem toque."""
    recusado = loja.por_pipe("cliente.py", b"Yuri\nNada\n")
    yuri = loja.por_pipe("cliente.py", "Yuri\n2\nOlá\n".encode())
    yuri.espera_na_tela("sua mensagem será entregue ao atendente.")
    ana = loja.conecta("ATENDENTE:*", "Ana", ate="CONECTADO:Yuri\n[Yuri]: Olá\n")
    ana.envia("Oi!\nFIM:")
    assert yuri.espera_fim().splitlines() == [
        "Procurando um atendente...",
        NA_FILA,
        "(Você ainda está na fila; sua mensagem será entregue ao atendente.)",
        CONECTADO.format("Ana"),
        "[Ana]: Oi!",
        ENCERRADO.format("O atendente Ana encerrou a conversa"),
        SESSAO_ENCERRADA,
    ]
    ana.envia("PAUSA:")
    ana.espera_na_tela("AVISO:Você está em pausa.\n")
    with loja.conecta("CLIENTE:Vendas", "Caio") as caio:
        bia = loja.por_pipe("atendente.py", "Bia\n\nOlá\n".encode())
        caio.espera_na_tela("CONECTADO:Bia\n[Bia]: Olá\n")
        caio.envia("Tchau")
        bia.espera_na_tela("[Caio]: Tchau\n")
    fim = [ENCERRADO.format("O cliente Caio desconectou"), CHAT_ENCERRADO]
    esperado = ["Você está online e aguardando clientes.", CONECTADO.format("Caio"), "[Caio]: Tchau", *fim]
    assert bia.espera_fim().splitlines()[:5] == esperado
    assert recusado.espera_fim(1) == "Departamento inválido: escolha entre Vendas, Suporte.\n"
    assert not {"\a", "\x1b"} & {*yuri.saida, *bia.saida}


def test_o_que_o_cliente_por_pipe_diz_chega_antes_do_fim(fila: Cena) -> None:
    """Tudo o que a entrada diz antes de `/sair` chega inteiro, e só depois o fim; a linha longa demais, não."""
    ana = fila.conecta("ATENDENTE", "Ana")
    entrada = b"Yuri\nOl\xe1, mundo\n" + b"x\n" * 500 + b"x" * 5000 + b"\ndepois\n/sair\n"
    fila.por_pipe("cliente.py", entrada).espera_fim()
    fim = "FIM:Atendimento encerrado. O cliente Yuri desconectou.\n"
    recebido = "[Yuri]: Ol\ufffd, mundo\n" + "[Yuri]: x\n" * 500 + "[Yuri]: depois\n"
    assert f"CONECTADO:Yuri\n{recebido}{fim}" in ana.espera_na_tela(fim)


def test_entrada_por_pipe_sem_nome_que_sirva(fila: Cena) -> None:
    """Sem um nome na entrada o programa termina logo, sem traceback."""
    vazia, invalida = fila.por_pipe("cliente.py", b""), fila.por_pipe("atendente.py", b"a[b]\n")
    assert (vazia.espera_fim(), invalida.espera_fim(1)) == ("", f"{NOME_INVALIDO[4:]}\n")


# --- Um servidor em que não se pode confiar -----------------------------------------------------

HOSTIL = ["\x1b[2JXYZ:antes do nome", "NOME:", "FILA:7", "FILA:-1", "FILA:" + "9" * 5000, "CONECTADO:\x1b[31mAna\u202e"]
HOSTIL += ["DESCONHECIDO:nada", "sem dois-pontos", "[Ana sem fim", "[Ana]: " + "x" * 5000]
HOSTIL += ["[Ana]: \x1b]0;titulo\x07\x1b[2J\x9bHoi\r\t😀", "AVISO:\x08\x08quase", "FIM:Acabou.\x1b[H", "[Ana]: ainda"]


def test_servidor_hostil(cena: Cena) -> None:
    """O programa mostra o que entende, limpo, e ignora o resto, ainda que venha aos pedaços."""
    aceita = cena.impostor()
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    hostil, dados = aceita(), "".join(f"{linha}\n" for linha in HOSTIL).encode()
    for comeco in range(0, len(dados), 5):
        hostil.envia(dados[comeco : comeco + 5])
    ditos = [NA_FILA.replace("1", "7"), CONECTADO.format("[31mAna"), "[Ana]: ]0;titulo[2JHoi  😀", "(quase)"]
    tela = [ENTROU["cliente.py"], *ditos, "*** Acabou.[H ***", SESSAO_ENCERRADA]
    assert yuri.espera_fim() == "\n".join(tela)


# --- O servidor ---------------------------------------------------------------------------------


def test_um_turno_inteiro(cena: Cena, tmp_path: Path) -> None:
    """O servidor conta o que houve e, ao encerrar, o turno; antes de terminar grava tudo, num pipe que ninguém lia."""
    pipe, filme = tmp_path / "conversas.csv", tmp_path / "aula.jsonl"
    os.mkfifo(pipe)
    arquivos = "--registro", str(pipe), "--rastro", str(filme)
    servidor = cena.servidor("--departamentos", "Vendas,Suporte,Pós-venda", *arquivos)
    servidor.espera_na_tela(f"As conversas são gravadas em {pipe}.\n")
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as leitor:
        os.set_blocking(leitor.fileno(), True)
        ana = cena.conecta("ATENDENTE:*", "Ana", ate="FILA:OK\n")
        ana.envia("PAUSA:\nVOLTA:")
        servidor.espera_na_tela("voltou da pausa.\n")
        bia = cena.conecta("CLIENTE:Vendas", "Bia", ate="CONECTADO:Ana\n")
        servidor.espera_na_tela("em Vendas.\n")  # cada thread só põe no log depois de enviar
        with cena.conecta("CLIENTE:Suporte", "Caio", ate="FILA:1\n") as caio:
            caio.envia("FIM:")
            servidor.espera_na_tela("saiu da fila.\n")
        ana.envia("TRANSFERIR:Suporte")
        ana.espera_na_tela("para Suporte.\nCONECTADO:Bia\n")
        bia.envia("".join(f"mensagem {numero}\n" for numero in range(2000)).encode())
        ana.espera_na_tela("mensagem 1999\n")
        servidor.processo.terminate()
        for conexao in (ana, bia):
            with conexao:  # quem se despede é o servidor; quem fecha, cada um
                conexao.espera_na_tela("FIM:Servidor encerrado.\n")
        registrado = leitor.readall().decode()
    textos = [linha[-1] for linha in csv.reader(io.StringIO(registrado))][1:]
    transferida = "O cliente Bia foi transferido para Suporte."
    assert textos == ["", transferida, "", *(f"mensagem {numero}" for numero in range(2000)), "Servidor encerrado."]
    tela = re.sub(r"\d+ s\b|(?<=:)\d{4,}", "N", servidor.espera_fim())
    assert "\x1b" not in tela and filme.read_text(encoding="utf-8").count("FIM:Servidor encerrado.") == 4
    assert re.findall(r"^\d\d:\d\d:\d\d (\[[A-Z-]+\] .*)$", tela, re.MULTILINE)[2:] == [
        "[SERVIDOR] Departamentos: Vendas, Suporte, Pós-venda.",
        f"[SERVIDOR] As conversas são gravadas em {pipe}.",
        f"[SERVIDOR] O rastro é gravado em {filme}. Depois: python docs/filme.py {filme}",
        "[CONNECT] Ana (ATENDENTE) conectou de 127.0.0.1:N para Vendas, Suporte, Pós-venda.",
        "[PAUSA] Ana (ATENDENTE) está em pausa.",
        "[RE-QUEUE] Ana (ATENDENTE) voltou da pausa.",
        "[CONNECT] Bia (CLIENTE) conectou de 127.0.0.1:N para Vendas.",
        "[MATCHMAKER] Par formado: Bia (CLIENTE) com Ana (ATENDENTE) em Vendas.",
        "[CONNECT] Caio (CLIENTE) conectou de 127.0.0.1:N para Suporte.",
        "[DISCONNECT] Caio (CLIENTE) saiu da fila.",
        "[RE-QUEUE] Bia (CLIENTE) transferido para Suporte por Ana (ATENDENTE).",
        "[MATCHMAKER] Par formado: Bia (CLIENTE) com Ana (ATENDENTE) em Suporte.",
        "[SERVIDOR] Encerrando.",
        "[TURNO] Vendas: 1 atendimento, 0 desistências na fila; espera média N, máxima N; duração média N.",
        "[TURNO] Suporte: 1 atendimento, 1 desistência na fila; espera média N, máxima N; duração média N.",
        "[TURNO] Pós-venda: 0 atendimentos, 0 desistências na fila.",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="só o Linux mostra as threads e os limites de um processo")
def test_o_processo_do_servidor(cena: Cena) -> None:
    """Muitas threads ficam num núcleo, salvo com `--varios-nucleos`; há descritores para todos; o rastro aparece."""
    limites, nucleos = resource.getrlimit(resource.RLIMIT_NOFILE), []
    for opcoes in ((), ("--varios-nucleos", "--rastro")):
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limites[1]))
        try:
            servidor = cena.servidor("--max-conexoes", "300", *opcoes)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limites)
        processo = Path(f"/proc/{servidor.processo.pid}")
        assert re.search(r"Max open files +364 ", (processo / "limits").read_text())
        for numero in range(10):
            cena.conecta("CLIENTE", f"Yuri {numero}")
        nucleos.append({len(os.sched_getaffinity(int(tarefa.name))) for tarefa in (processo / "task").iterdir()})
    todos = len(os.sched_getaffinity(0))
    assert nucleos == [{1 if Nucleos(um_so=True)._todos else todos}, {todos}]
    cena.conecta("ATENDENTE", "Ana", ate="CONECTADO:Yuri 0\n").envia("FIM:")
    servidor.espera_na_tela(r"'CONECTADO:Yuri 1\n'")


HOSTIS = [b"[" * 4090, b'{"a":' * 818, b'[{"a":' * 680, b"9" * 4090, b"1e" + b"9" * 4000, b'"' * 4090]
HOSTIS += [b'"' + b"\\" * 4000, b'{"comando":"fila","x":' + b"[" * 2000 + b"]" * 2000 + b"}"]
HOSTIS += [b'{"a":"\\"","b":' + b"[" * 4000, b"{" + b",".join(b'"%d":0' % numero for numero in range(450))]


def test_o_processo_sobrevive_ao_json_hostil(cena: Cena) -> None:
    """Com a pilha pequena que o servidor dá às threads, nenhuma linha o derruba: na fila, aviso; antes dela, fim."""
    servidor, invalido = cena.servidor(), '{{"comando":"{}","mensagem":"JSON inválido: '
    with cena.liga() as yuri:
        yuri.envia('{"comando":"cliente","nome":"Yuri"}')
        for hostil in HOSTIS:
            yuri.envia(hostil + b"\n")
            with cena.liga() as outro:
                outro.envia(b'{"x":' + hostil[:4000] + b"\n")
                outro.espera_na_tela(invalido.format("fim"))
        yuri.envia('{"comando":"fila"}')
        assert yuri.espera_na_tela("Você é o número 1 de 1").count(invalido.format("aviso")) == len(HOSTIS)
    servidor.processo.terminate()
    servidor.espera_fim()
