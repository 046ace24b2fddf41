"""Os três programas como as pessoas os usam: `servidor.py`, `cliente.py` e `atendente.py`, de ponta a ponta."""

import contextlib
import importlib.util
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pty", reason="sem pseudoterminais (Windows)")

from pseudoterminal import (  # noqa: E402
    BACKSPACE,
    CTRL_A,
    CTRL_C,
    CTRL_D,
    CTRL_U,
    ENTER,
    ESQUERDA,
    FIM_DA_LINHA,
    HOME,
    PRAZO,
    Conexao,
    NoTerminal,
    Programa,
    desenhar,
    executa,
)

PROMPT = "Sua mensagem: "
NA_FILA = "(Você é o número 1 na fila. Por favor, aguarde...)"
LIVRE = "(Aguardando clientes...)"
CONECTADO = "*** Conexão estabelecida! Você está falando com {}. ***"

COR = re.compile(r"\x1b\[\d*m")
INGLES = re.compile(r"usage|error|argument|options|default|show this|choices|Traceback")

# Quem está do outro lado de quem usa cada programa.
OUTRO = {"cliente.py": ("ATENDENTE", "Ana"), "atendente.py": ("CLIENTE", "Yuri")}
EU = {"cliente.py": "Yuri", "atendente.py": "Ana"}

try:
    import readline
except ImportError:
    readline = None

com_readline = pytest.mark.skipif("libedit" in getattr(readline, "__doc__", "libedit"), reason="sem o readline do GNU")
com_colorama = pytest.mark.skipif(importlib.util.find_spec("colorama") is None, reason="sem colorama")
nos_dois = pytest.mark.parametrize("programa", OUTRO, ids=["cliente", "atendente"])


class Cena:
    """Quem participa de um teste. O que ela abre é fechado no fim, mesmo que o teste falhe."""

    def __init__(self, pilha: contextlib.ExitStack) -> None:
        self._pilha = pilha
        self.porta = 0

    def servidor(self, *opcoes: str, classe: type[Programa] = Programa, **ambiente: str) -> Programa:
        """Um servidor que já aceita, numa porta livre: é com ele que falam os que vierem depois."""
        argumentos = ("servidor.py", "--host", "127.0.0.1", "--porta", "0", *opcoes)
        servidor = self._pilha.enter_context(classe(*argumentos, ambiente=ambiente))
        servidor.espera_na_tela("Nesta máquina")
        self.porta = int(re.search(r"porta (\d+)\.", servidor.saida)[1])
        return servidor

    def terminal(self, programa: str, *opcoes: str, colunas: int = 80, **ambiente: str) -> NoTerminal:
        argumentos = (programa, *opcoes, "--porta", str(self.porta))
        return self._pilha.enter_context(NoTerminal(*argumentos, colunas=colunas, ambiente=ambiente))

    def por_pipe(self, programa: str, entrada: bytes) -> Programa:
        return self._pilha.enter_context(Programa(programa, "--porta", str(self.porta), entrada=entrada))

    def conecta(self, tipo: str, nome: str, ate: str = "FILA:") -> Conexao:
        """Alguém que usa `nc`, identificado e com a primeira resposta já lida."""
        conexao = self._pilha.enter_context(Conexao(socket.create_connection(("127.0.0.1", self.porta), PRAZO)))
        conexao.envia(f"{tipo}\n{nome}")
        conexao.espera_na_tela(f"NOME:\n{ate}")
        return conexao

    def impostor(self) -> socket.socket:
        """Um servidor que só faz o que o teste manda."""
        ouvinte = self._pilha.enter_context(socket.create_server(("127.0.0.1", 0)))
        ouvinte.settimeout(PRAZO)
        self.porta = ouvinte.getsockname()[1]
        return ouvinte

    def aceita(self, ouvinte: socket.socket) -> Conexao:
        return self._pilha.enter_context(Conexao(ouvinte.accept()[0]))


@pytest.fixture
def cena() -> Iterator[Cena]:
    with contextlib.ExitStack() as pilha:
        yield Cena(pilha)


@pytest.fixture
def fila(servidor, cena: Cena) -> Cena:
    """A cena com um servidor comum no ar. Nesta ordem: primeiro saem os programas, e só depois ele."""
    cena.porta = servidor.server_address[1]
    return cena


def conversa(fila: Cena, programa: str = "cliente.py", **opcoes: object) -> tuple[Conexao, NoTerminal]:
    """O outro, de `nc`, e quem usa o programa num terminal: já conversando, com o prompt à espera."""
    outro = fila.conecta(*OUTRO[programa])
    eu = fila.terminal(programa, "--nome", EU[programa], **opcoes)
    eu.espera_tela(f"{inicio(programa)}\n{PROMPT}")
    return outro, eu


def inicio(programa: str = "cliente.py") -> str:
    """A tela de quem está em `conversa`, antes do prompt."""
    online = {"cliente.py": "Procurando um atendente...", "atendente.py": "Você está online e aguardando clientes."}
    return f"{online[programa]}\n{CONECTADO.format(OUTRO[programa][1])}"


# --- A tela dos testes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saida", "tela"),
    [
        pytest.param("abc\r\nd", ["abc", "d"], id="linhas"),
        pytest.param("abcdefg", ["abcde", "fg"], id="quebra na largura"),
        pytest.param("abcde\rx", ["xbcde"], id="ultima coluna"),
        pytest.param("abcd😀", ["abcd", "😀"], id="emoji que nao cabe"),
        pytest.param("e\u0301\b\bx", ["x"], id="acento solto"),
        pytest.param("abc\b\b\x1b[Kd", ["ad"], id="apaga ate o fim"),
        pytest.param("ab\r\ncd\x1b[A\r\x1b[2K\x1b[Jx", ["x"], id="apaga linhas"),
        pytest.param("ac\b\x1b[@b\x1b[C!", ["abc!"], id="insere e avanca"),
        pytest.param("abc\r\x1b[P", ["bc"], id="retira"),
        pytest.param("a\x1b7\r\nb\x1b8c\x1b[Bd", ["ac", "b d"], id="guarda o cursor"),
        pytest.param("\x1b[?2004h\x1b[1;31ma\x1b[0m\a\x1b[", ["a"], id="cores e modos"),
    ],
)
def test_desenhar(saida: str, tela: list[str]) -> None:
    """A tela dos testes mostra o que um terminal de 5 colunas mostraria."""
    assert desenhar(saida, 5) == tela


# --- A conversa ---------------------------------------------------------------------------------


def test_conversa_inteira_em_dois_terminais(fila: Cena) -> None:
    """Do nome ao fim, a tela de cada um é exatamente a sessão que se espera ler."""
    yuri = fila.terminal("cliente.py")
    yuri.espera_tela("Digite seu nome:")
    yuri.digita("Yuri" + ENTER)
    tela_de_yuri = f"Digite seu nome: Yuri\nProcurando um atendente...\n{NA_FILA}\n"
    yuri.espera_tela(tela_de_yuri + PROMPT)

    ana = fila.terminal("atendente.py")
    ana.espera_tela("Digite seu nome de atendente:")
    ana.digita("Ana" + ENTER)
    tela_de_ana = f"Digite seu nome de atendente: Ana\n{inicio('atendente.py')}\n"
    tela_de_yuri += CONECTADO.format("Ana") + "\n"
    ana.espera_tela(tela_de_ana + PROMPT)
    yuri.espera_tela(tela_de_yuri + PROMPT)

    yuri.digita("Olá! 😀" + ENTER)
    tela_de_ana += "[Yuri]: Olá! 😀\n"
    tela_de_yuri += PROMPT + "Olá! 😀\n"
    ana.espera_tela(tela_de_ana + PROMPT)
    yuri.espera_tela(tela_de_yuri + PROMPT)

    ana.digita("Oi, Yuri." + ENTER)
    yuri.espera_tela(tela_de_yuri + "[Ana]: Oi, Yuri.\n" + PROMPT)
    ana.espera_tela(tela_de_ana + PROMPT + "Oi, Yuri.\n" + PROMPT)

    yuri.digita("/sair" + ENTER)
    assert yuri.espera_fim().endswith(PROMPT + "/sair")
    ana.espera_no_fim(
        PROMPT + "Oi, Yuri.",
        "*** Atendimento encerrado. O cliente Yuri desconectou. ***",
        "*** Chat encerrado. ***",
        LIVRE,
        PROMPT,
    )


def test_atendente_atende_um_depois_do_outro(fila: Cena) -> None:
    """Quando a conversa acaba, o atendente volta a esperar, e o próximo é atendido."""
    ana = fila.terminal("atendente.py", "--nome", "Ana")
    for nome in ("Yuri", "Bia"):
        ana.espera_no_fim(LIVRE, PROMPT)
        with fila.conecta("CLIENTE", nome, ate="CONECTADO:Ana") as cliente:
            ana.espera_no_fim(CONECTADO.format(nome), PROMPT)
            cliente.envia(f"Sou {nome}")
            ana.espera_no_fim(f"[{nome}]: Sou {nome}", PROMPT)
        ana.espera_no_fim(
            f"*** Atendimento encerrado. O cliente {nome} desconectou. ***", "*** Chat encerrado. ***", LIVRE, PROMPT
        )


def test_quem_espera_ve_a_fila_andar(fila: Cena) -> None:
    """A nova posição aparece sem tocar na linha que está sendo digitada."""
    with fila.conecta("CLIENTE", "Bia"):
        yuri = fila.terminal("cliente.py", "--nome", "Yuri")
        yuri.espera_no_fim("(Você é o número 2 na fila. Por favor, aguarde...)", PROMPT)
        yuri.digita("Ainda aqui")
        yuri.espera_no_fim(PROMPT + "Ainda aqui")
    yuri.espera_no_fim("(Você é o número 2 na fila. Por favor, aguarde...)", NA_FILA, PROMPT + "Ainda aqui")


@pytest.mark.parametrize(
    "linha",
    [
        pytest.param("Estou quase", id="curta"),
        pytest.param("Não é à toa: é a acentuação", id="com acentos"),
        pytest.param("x" * 100, id="de varias linhas da tela"),
        pytest.param("x" * 26, id="ate a ultima coluna"),
        pytest.param("😀" * 30, id="de emojis de duas colunas"),
        pytest.param("x" + "😀" * 32, id="com emoji que nao cabe na ultima coluna"),
        pytest.param("👨‍👩‍👧" + "x" * 19, id="com emoji composto"),
    ],
)
def test_meia_linha_sobrevive_ao_que_chega(fila: Cena, linha: str) -> None:
    """Uma mensagem, e depois uma rajada, aparecem acima da linha, que fica inteira e segue sendo digitada."""
    ana, yuri = conversa(fila, colunas=40)
    yuri.digita(linha)
    yuri.espera_tela(f"{inicio()}\n{PROMPT}{linha}")
    ana.envia("Oi!")
    yuri.espera_tela(f"{inicio()}\n[Ana]: Oi!\n{PROMPT}{linha}")
    ana.envia("\n".join(f"Frase {n}" for n in range(5)))
    rajada = "\n".join(f"[Ana]: Frase {n}" for n in range(5))
    yuri.espera_tela(f"{inicio()}\n[Ana]: Oi!\n{rajada}\n{PROMPT}{linha}")
    yuri.digita("!" + ENTER)
    ana.espera_na_tela(f"[Yuri]: {linha}!\n")
    yuri.espera_tela(f"{inicio()}\n[Ana]: Oi!\n{rajada}\n{PROMPT}{linha}!\n{PROMPT}")


@com_readline
@pytest.mark.parametrize(
    ("teclas", "linha"),
    [
        pytest.param("cd" + CTRL_A + "ab", "abcd", id="Ctrl+A"),
        pytest.param("cd" + HOME + "ab" + FIM_DA_LINHA + "ef", "abcdef", id="Home e End"),
        pytest.param("abd" + ESQUERDA + "c", "abcd", id="seta"),
        pytest.param("abc" + BACKSPACE * 9 + "d", "d", id="backspace alem do inicio"),
        pytest.param("abc" + CTRL_U + "d", "d", id="Ctrl+U"),
        pytest.param("x" * 100 + CTRL_U + "d", "d", id="Ctrl+U numa linha que dobra"),
    ],
)
def test_teclas_de_edicao_respeitam_o_prompt(fila: Cena, teclas: str, linha: str) -> None:
    """Editar a linha não apaga o prompt, e o que se envia é o que se vê."""
    ana, yuri = conversa(fila)
    yuri.digita(teclas)
    yuri.espera_tela(f"{inicio()}\n{PROMPT}{linha}")
    yuri.digita(ENTER)
    ana.espera_na_tela(f"[Yuri]: {linha}\n")


@com_readline
def test_mensagem_com_o_cursor_no_meio_da_linha(fila: Cena) -> None:
    """O cursor continua onde estava: o que se digita depois da mensagem entra no mesmo lugar."""
    ana, yuri = conversa(fila)
    yuri.digita("bcd" + HOME + ">")
    yuri.espera_tela(f"{inicio()}\n{PROMPT}>bcd")
    ana.envia("Oi!")
    yuri.espera_tela(f"{inicio()}\n[Ana]: Oi!\n{PROMPT}>bcd")
    yuri.digita("a")
    yuri.espera_tela(f"{inicio()}\n[Ana]: Oi!\n{PROMPT}>abcd")


@com_readline
def test_colar_varias_linhas(fila: Cena) -> None:
    """Um texto colado com quebras de linha é sempre mensagem, ainda que uma linha dele pareça comando."""
    ana, yuri = conversa(fila)
    yuri.digita("\x1b[200~um\nFIM:dois\x1b[201~" + ENTER)
    ana.espera_na_tela("dois")
    yuri.digita("depois" + ENTER)
    recebido = ana.espera_na_tela("depois\n").partition("CONECTADO:Yuri\n")[2]
    assert all(linha.startswith("[Yuri]: ") for linha in recebido.splitlines())


# --- Os comandos da tela ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digitado", "na_tela", "enviado"),
    [
        pytest.param("/ajuda", "encerra a conversa e fecha o programa", "", id="ajuda"),
        pytest.param("/desconhecido e mais", "Comando desconhecido: /desconhecido", "", id="desconhecido"),
        pytest.param("//texto", "//texto", "[Yuri]: /texto\n", id="texto com barra"),
        pytest.param("FIM:", "FIM:", "[Yuri]: FIM:\n", id="comando do protocolo"),
        pytest.param("   ", PROMPT.rstrip(), "", id="linha em branco"),
    ],
)
def test_o_que_cada_linha_envia(fila: Cena, digitado: str, na_tela: str, enviado: str) -> None:
    """Só vai ao servidor o que é mensagem; dos comandos, vê-se o efeito."""
    ana, yuri = conversa(fila)
    yuri.digita(digitado + ENTER)
    yuri.espera_na_tela(na_tela)
    yuri.digita("depois" + ENTER)
    assert ana.espera_na_tela("depois\n") == f"NOME:\nFILA:OK\nCONECTADO:Yuri\n{enviado}[Yuri]: depois\n"


@nos_dois
def test_sair_fecha_o_programa(fila: Cena, programa: str) -> None:
    """`/sair` termina o programa, e o outro lado fica sabendo."""
    outro, eu = conversa(fila, programa)
    eu.digita("/sair" + ENTER)
    assert eu.espera_fim().endswith(f"{inicio(programa)}\n{PROMPT}/sair")
    outro.espera_na_tela(f"{EU[programa]} desconectou.\n")


def test_encerrar_do_cliente(fila: Cena) -> None:
    """O cliente que encerra a conversa vê o fim dela, e o programa termina."""
    ana, yuri = conversa(fila)
    yuri.digita("/encerrar" + ENTER)
    assert yuri.espera_fim().endswith(
        "*** Atendimento encerrado. Você encerrou a conversa. ***\n*** Sessão encerrada. ***"
    )
    ana.espera_na_tela("FIM:Atendimento encerrado. O cliente Yuri encerrou a conversa.\nFILA:OK\n")


def test_encerrar_do_cliente_na_fila(fila: Cena) -> None:
    """O cliente que encerra antes de ser atendido sai da fila."""
    yuri = fila.terminal("cliente.py", "--nome", "Yuri")
    yuri.espera_no_fim(NA_FILA, PROMPT)
    yuri.digita("/encerrar" + ENTER)
    assert "*** Você saiu da fila. ***" in yuri.espera_fim()


def test_encerrar_do_atendente(fila: Cena) -> None:
    """O atendente encerra a conversa e segue disponível; sem conversa, `/encerrar` só dá uma dica."""
    yuri, ana = conversa(fila, "atendente.py")
    ana.digita("/encerrar" + ENTER)
    ana.espera_no_fim(
        "*** Atendimento encerrado. Você encerrou a conversa. ***", "*** Chat encerrado. ***", LIVRE, PROMPT
    )
    yuri.espera_na_tela("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.\n")
    ana.digita("/encerrar" + ENTER)
    ana.espera_no_fim("(Nenhuma conversa para encerrar; /sair fecha o programa.)", PROMPT)
    fila.conecta("CLIENTE", "Bia", ate="CONECTADO:Ana")
    ana.espera_no_fim(CONECTADO.format("Bia"), PROMPT)


# --- O nome -------------------------------------------------------------------------------------


@nos_dois
def test_nome_invalido_e_perguntado_de_novo(fila: Cena, programa: str) -> None:
    """A pergunta se repete até o nome servir."""
    pergunta = "Digite seu nome: " if programa == "cliente.py" else "Digite seu nome de atendente: "
    eu, tela = fila.terminal(programa), ""
    for nome in ("a[b]", "   ", "x" * 41):
        eu.espera_tela(tela + pergunta)
        eu.digita(nome + ENTER)
        tela += f"{pergunta}{nome}\nNome inválido: use de 1 a 40 caracteres, sem colchetes.\n"
    eu.espera_tela(tela + pergunta)
    eu.digita(EU[programa] + ENTER)
    eu.espera_no_fim(LIVRE if programa == "atendente.py" else NA_FILA, PROMPT)


# --- O fim --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "digitado", ["", "meia linha", "x" * 100], ids=["sem nada digitado", "meia linha", "linha que dobra"]
)
def test_cliente_sai_sozinho_no_fim_da_conversa(fila: Cena, digitado: str) -> None:
    """O programa termina sem esperar Enter, e o que estava sendo digitado some com o prompt."""
    ana, yuri = conversa(fila)
    yuri.digita(digitado)
    yuri.espera_tela(f"{inicio()}\n{PROMPT}{digitado}")
    ana.envia("FIM:")
    fim = "*** Atendimento encerrado. O atendente Ana encerrou a conversa. ***\n*** Sessão encerrada. ***"
    assert yuri.espera_fim() == f"{inicio()}\n{fim}"


@nos_dois
@pytest.mark.parametrize(
    "teclas", [CTRL_C, CTRL_D, "meia linha" + CTRL_C], ids=["Ctrl+C", "Ctrl+D", "Ctrl+C na meia linha"]
)
@pytest.mark.parametrize("momento", ["no nome", "na fila", "na conversa"])
def test_tecla_de_sair(fila: Cena, programa: str, momento: str, teclas: str) -> None:
    """Ctrl+C e Ctrl+D saem em paz de qualquer ponto, e o terminal volta a ser o que era."""
    match momento:
        case "no nome":
            eu = fila.terminal(programa)
            eu.espera_na_tela("Digite seu nome")
        case "na fila":
            eu = fila.terminal(programa, "--nome", EU[programa])
            eu.espera_no_fim(NA_FILA if programa == "cliente.py" else LIVRE, PROMPT)
        case "na conversa":
            outro, eu = conversa(fila, programa)
    eu.espera_que_durma()
    eu.digita(teclas)
    eu.espera_fim()
    if momento == "na conversa":
        outro.espera_na_tela(f"{EU[programa]} desconectou.\n")


CTRL_C_COM_O_PROMPT = """
import os, readline, runpy, signal, sys
instalar = readline.set_pre_input_hook
readline.set_pre_input_hook = lambda gancho: instalar(lambda: (os.kill(os.getpid(), signal.SIGINT), gancho()))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@com_readline
def test_ctrl_c_no_instante_do_prompt(fila: Cena) -> None:
    """Um Ctrl+C que chega enquanto o prompt está sendo mostrado não se perde."""
    fila.terminal("-c", CTRL_C_COM_O_PROMPT, "cliente.py", "--nome", "Yuri").espera_fim()


@nos_dois
def test_janela_fechada_no_meio_da_linha(fila: Cena, programa: str) -> None:
    """Fechar a janela encerra a conversa para o outro, e a meia linha não é enviada."""
    outro, eu = conversa(fila, programa)
    eu.digita("meia linha")
    eu.espera_no_fim(PROMPT + "meia linha")
    eu.fecha_janela()
    assert "meia linha" not in outro.espera_na_tela(f"{EU[programa]} desconectou.\n")


@pytest.mark.parametrize(
    ("sinal", "aviso"),
    [
        pytest.param(signal.SIGTERM, "*** Servidor encerrado. ***", id="encerrado"),
        pytest.param(signal.SIGKILL, "*** Desconectado do servidor. ***", id="morto"),
    ],
)
def test_servidor_acaba_no_meio_da_conversa(cena: Cena, sinal: signal.Signals, aviso: str) -> None:
    """Os dois lados sabem que o servidor acabou, e os programas terminam."""
    servidor = cena.servidor()
    ana = cena.terminal("atendente.py", "--nome", "Ana")
    ana.espera_no_fim(LIVRE, PROMPT)
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    yuri.espera_no_fim(CONECTADO.format("Ana"), PROMPT)
    ana.espera_no_fim(CONECTADO.format("Yuri"), PROMPT)
    yuri.digita("meia linha")
    yuri.espera_no_fim(PROMPT + "meia linha")
    servidor.processo.send_signal(sinal)
    for programa in (yuri, ana):
        assert aviso in programa.espera_fim()
    servidor.espera_fim(0 if sinal == signal.SIGTERM else -sinal)


def test_ctrl_c_no_servidor(cena: Cena) -> None:
    """Ctrl+C no terminal do servidor se despede de todos e termina em paz."""
    servidor = cena.servidor(classe=NoTerminal)
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    yuri.espera_no_fim(NA_FILA, PROMPT)
    servidor.digita(CTRL_C)
    assert "*** Servidor encerrado. ***" in yuri.espera_fim()
    assert "Encerrando." in servidor.espera_fim()


# --- Sem terminal -------------------------------------------------------------------------------


def test_cliente_por_pipe_espera_o_atendente(fila: Cena) -> None:
    """O fim da entrada não corta a conversa que ela pediu; a saída não tem prompt nem cores."""
    yuri = fila.por_pipe("cliente.py", "Yuri\nOlá\n".encode())
    yuri.espera_na_tela("sua mensagem será entregue ao atendente.")
    ana = fila.conecta("ATENDENTE", "Ana", ate="CONECTADO:Yuri\n[Yuri]: Olá\n")
    ana.envia("Oi!\nFIM:")
    assert yuri.espera_fim().splitlines() == [
        "Procurando um atendente...",
        NA_FILA,
        "(Você ainda está na fila; sua mensagem será entregue ao atendente.)",
        CONECTADO.format("Ana"),
        "[Ana]: Oi!",
        "*** Atendimento encerrado. O atendente Ana encerrou a conversa. ***",
        "*** Sessão encerrada. ***",
    ]


def test_atendente_por_pipe_atende_um_cliente(fila: Cena) -> None:
    """O atendente por pipe diz o que tem a dizer e espera o fim da conversa."""
    with fila.conecta("CLIENTE", "Yuri") as yuri:
        ana = fila.por_pipe("atendente.py", "Ana\nOlá\n".encode())
        yuri.espera_na_tela("CONECTADO:Ana\n[Ana]: Olá\n")
        yuri.envia("Tchau")
        ana.espera_na_tela("[Yuri]: Tchau\n")
    assert ana.espera_fim().splitlines()[:5] == [
        "Você está online e aguardando clientes.",
        CONECTADO.format("Yuri"),
        "[Yuri]: Tchau",
        "*** Atendimento encerrado. O cliente Yuri desconectou. ***",
        "*** Chat encerrado. ***",
    ]


@pytest.mark.parametrize(
    ("entrada", "recebido"),
    [
        pytest.param("Yuri\nOlá\n/sair\n".encode(), "[Yuri]: Olá\n", id="sai em seguida"),
        pytest.param(b"Yuri\nOl\xe1, mundo\n/sair\n", "[Yuri]: Ol\ufffd, mundo\n", id="em Latin-1"),
        pytest.param(b"Yuri\n" + b"x\n" * 500 + b"/sair\n", "[Yuri]: x\n" * 500, id="muitas linhas"),
        pytest.param(b"Yuri\n" + b"x" * 5000 + b"\ndepois\n/sair\n", "[Yuri]: depois\n", id="linha longa demais"),
    ],
)
def test_o_que_o_cliente_por_pipe_diz_chega_antes_do_fim(fila: Cena, entrada: bytes, recebido: str) -> None:
    """Tudo o que a entrada diz antes de `/sair` chega inteiro, e só depois o fim."""
    ana = fila.conecta("ATENDENTE", "Ana")
    fila.por_pipe("cliente.py", entrada).espera_fim()
    fim = "FIM:Atendimento encerrado. O cliente Yuri desconectou.\n"
    assert f"CONECTADO:Yuri\n{recebido}{fim}" in ana.espera_na_tela(fim)


@nos_dois
@pytest.mark.parametrize(("entrada", "codigo"), [(b"", 0), (b"a[b]\n", 1)], ids=["vazia", "nome invalido"])
def test_entrada_por_pipe_sem_nome_que_sirva(fila: Cena, programa: str, entrada: bytes, codigo: int) -> None:
    """Sem um nome na entrada o programa termina logo, sem traceback."""
    saida = fila.por_pipe(programa, entrada).espera_fim(codigo)
    assert saida == ("Nome inválido: use de 1 a 40 caracteres, sem colchetes.\n" if codigo else "")


# --- Um servidor em que não se pode confiar -----------------------------------------------------


@pytest.mark.parametrize("pedaco", [1, 5, 4096], ids=["byte a byte", "de 5 em 5", "de uma vez"])
def test_servidor_hostil(cena: Cena, pedaco: int) -> None:
    """O programa mostra o que entende, limpo, e ignora o resto, venha como vier."""
    ouvinte = cena.impostor()
    yuri = cena.terminal("cliente.py", "--nome", "Yuri")
    hostil = cena.aceita(ouvinte)
    linhas = [
        "\x1b[2JXYZ:antes do nome",
        "NOME:",
        "FILA:-1",
        "FILA:" + "9" * 5000,
        "CONECTADO:\x1b[31mAna\u202e",
        "DESCONHECIDO:nada",
        "sem dois-pontos",
        "[Ana sem fim",
        "[Ana]: \x1b]0;titulo\x07\x1b[2J\x9bHoi\r\t😀",
        "[Ana]: " + "x" * 5000,
        "AVISO:\x08\x08\x08quase",
        "FIM:Acabou.\x1b[H",
    ]
    dados = "".join(f"{linha}\n" for linha in linhas).encode() + b"[Ana]: \xff depois do fim\n"
    for inicio_do_pedaco in range(0, len(dados), pedaco):
        hostil.envia(dados[inicio_do_pedaco : inicio_do_pedaco + pedaco])
    tela = yuri.espera_fim().split("\n")
    assert tela == [
        "Procurando um atendente...",
        CONECTADO.format("[31mAna"),
        "[Ana]: ]0;titulo[2JHoi 😀",
        "(quase)",
        "*** Acabou.[H ***",
        "*** Sessão encerrada. ***",
    ]


@nos_dois
@pytest.mark.parametrize(
    ("resposta", "dito"),
    [
        pytest.param(
            "FIM:Servidor lotado; tente mais tarde.\n", "*** Servidor lotado; tente mais tarde. ***", id="recusa"
        ),
        pytest.param("220 smtp.exemplo ESMTP\r\n", "*** Desconectado do servidor. ***", id="outro protocolo"),
        pytest.param("", "*** Desconectado do servidor. ***", id="nada"),
    ],
)
def test_identificacao_que_nao_termina(cena: Cena, programa: str, resposta: str, dito: str) -> None:
    """Quem é recusado, ou abandonado, antes de dizer o nome sabe disso, e o código é 1."""
    ouvinte = cena.impostor()
    eu = cena.terminal(programa)
    with cena.aceita(ouvinte) as impostor:
        impostor.espera_na_tela("\n")
        impostor.envia(resposta.encode())
    assert eu.espera_fim(1) == dito


# --- A senha dos atendentes ---------------------------------------------------------------------


@pytest.fixture(params=["opcao", "variavel"])
def com_senha(request: pytest.FixtureRequest, cena: Cena) -> Cena:
    """A cena com um servidor que pede senha, dita de cada um dos dois modos."""
    if request.param == "opcao":
        cena.servidor("--senha-atendentes", "segredo")
    else:
        cena.servidor(FILA_SENHA="segredo")
    return cena


@pytest.mark.parametrize(("senha", "certa"), [("segredo", True), ("palpite", False)], ids=["certa", "errada"])
@pytest.mark.parametrize("digitada", [True, False], ids=["digitada", "na variavel"])
def test_senha_do_atendente(com_senha: Cena, senha: str, certa: bool, digitada: bool) -> None:
    """A senha certa deixa entrar, a errada não; digitada, ela não aparece na tela."""
    ana = com_senha.terminal("atendente.py", "--nome", "Ana", **{} if digitada else {"FILA_SENHA": senha})
    if digitada:
        ana.espera_na_tela("Senha dos atendentes:")
        ana.digita(senha + ENTER)
    if certa:
        ana.espera_no_fim("Você está online e aguardando clientes.", LIVRE, PROMPT)
    else:
        assert ana.espera_fim(1).endswith("*** Senha incorreta. ***")
    assert senha not in ana.saida


@pytest.mark.parametrize("tecla", [CTRL_C, CTRL_D], ids=["Ctrl+C", "Ctrl+D"])
def test_desistir_da_senha(cena: Cena, tecla: str) -> None:
    """Sair na pergunta da senha devolve o eco ao terminal."""
    cena.servidor("--senha-atendentes", "segredo")
    ana = cena.terminal("atendente.py")
    ana.espera_na_tela("Senha dos atendentes:")
    ana.espera_que_durma()
    ana.digita(tecla)
    ana.espera_fim()


def test_cliente_entra_sem_senha(com_senha: Cena) -> None:
    """A senha é só dos atendentes."""
    com_senha.terminal("cliente.py", "--nome", "Yuri").espera_tela(f"Procurando um atendente...\n{NA_FILA}\n{PROMPT}")


# --- Cores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ambiente", "colorido"),
    [
        pytest.param({}, True, id="num terminal", marks=com_colorama),
        pytest.param({"NO_COLOR": "1"}, False, id="NO_COLOR"),
        pytest.param({"TERM": "dumb"}, False, id="TERM=dumb"),
        pytest.param({"PYTHONPATH": "{sem_colorama}"}, False, id="sem colorama"),
    ],
)
def test_cores(cena: Cena, tmp_path: Path, ambiente: dict[str, str], colorido: bool) -> None:
    """Só há cores num terminal que as quer e com o colorama; sem elas tudo funciona igual."""
    (tmp_path / "colorama.py").write_text("raise ImportError")
    ambiente = {nome: valor.format(sem_colorama=tmp_path) for nome, valor in ambiente.items()}
    servidor = cena.servidor(classe=NoTerminal, **ambiente)
    ana, yuri = conversa(cena, **ambiente)
    ana.envia("Oi!")
    yuri.espera_tela(f"{inicio()}\n[Ana]: Oi!\n{PROMPT}")
    servidor.espera_na_tela("[MATCHMAKER]")
    assert [bool(COR.search(programa.saida)) for programa in (servidor, yuri)] == [colorido, colorido]


# --- O servidor na tela -------------------------------------------------------------------------


def test_o_que_o_servidor_conta(cena: Cena) -> None:
    """O servidor diz onde aceita e o que digitar, e marca quem entra, conversa, sai e volta à fila."""
    servidor = cena.servidor()
    assert f"Aceitando conexões em 127.0.0.1, porta {cena.porta}. Ctrl+C encerra." in servidor.tela
    for programa in OUTRO:
        assert f"python {programa} --porta {cena.porta}" in servidor.tela
    cena.conecta("ATENDENTE", "Ana")
    with cena.conecta("CLIENTE", "Yuri", ate="CONECTADO:"):
        pass
    tela = servidor.espera_na_tela("[RE-QUEUE]")
    assert "\x1b" not in tela
    assert re.findall(r"^\d\d:\d\d:\d\d \[([A-Z-]+)\] (\w+)", tela.partition("atendente.py")[2], re.MULTILINE) == [
        ("CONNECT", "Ana"),
        ("CONNECT", "Yuri"),
        ("MATCHMAKER", "Par"),
        ("DISCONNECT", "Yuri"),
        ("RE-QUEUE", "Ana"),
    ]


# --- A linha de comando -------------------------------------------------------------------------


@pytest.mark.parametrize("programa", ["servidor.py", *OUTRO], ids=["servidor", "cliente", "atendente"])
def test_ajuda(programa: str) -> None:
    """A ajuda vem em português, na saída padrão, e não é um erro."""
    ajuda = executa(programa, "--ajuda")
    assert (ajuda.returncode, ajuda.stderr) == (0, "")
    assert ajuda.stdout.startswith(f"uso: {programa} [opções]\n")
    assert "--porta VALOR" in ajuda.stdout and "(padrão: 12345)" in ajuda.stdout
    assert not INGLES.search(ajuda.stdout)


@pytest.mark.parametrize(
    ("linha_de_comando", "erro"),
    [
        ("cliente.py --nome a[b]", "--nome: Nome inválido: use de 1 a 40 caracteres, sem colchetes."),
        ("cliente.py --porta 0", "--porta: use um inteiro de 1 a 65535, e não '0'"),
        ("atendente.py --porta 65536", "--porta: use um inteiro de 1 a 65535, e não '65536'"),
        ("atendente.py --porta", "a opção --porta precisa de um valor"),
        ("atendente.py sobra", "opção desconhecida: sobra"),
        ("cliente.py --desconhecida", "opção desconhecida: --desconhecida"),
        ("cliente.py --ajuda=sim", "não recebe valor"),
        ("servidor.py --por 1", "opção desconhecida: --por 1"),
        ("servidor.py --porta 65536", "--porta: use um inteiro de 0 a 65535, e não '65536'"),
        ("servidor.py --porta abc", "--porta: use um inteiro de 0 a 65535, e não 'abc'"),
        ("servidor.py --max-conexoes 0", "--max-conexoes: use um inteiro de 1 a 1000000, e não '0'"),
        ("servidor.py --prazo-envio -1", "--prazo-envio: use segundos, acima de zero e até um dia, e não '-1'"),
    ],
    ids=lambda valor: valor if valor.partition(" ")[0].endswith(".py") else "",
)
def test_uso_errado(linha_de_comando: str, erro: str) -> None:
    """O erro de quem digitou é dito em português, em stderr, com código 2."""
    programa = executa(*linha_de_comando.split())
    assert (programa.returncode, programa.stdout) == (2, "")
    assert erro in programa.stderr and "Use --ajuda para ver as opções." in programa.stderr
    assert not INGLES.search(programa.stderr)


@nos_dois
def test_servidor_fora_do_ar(programa: str) -> None:
    """Sem servidor, a frase que diz isso vai para stderr, com código 1."""
    with socket.socket() as reservada:
        reservada.bind(("127.0.0.1", 0))  # sem listen(): quem se conecta é recusado
        recusado = executa(programa, "--porta", str(reservada.getsockname()[1]), "--nome", "Yuri")
    assert (recusado.returncode, recusado.stdout) == (1, "")
    assert recusado.stderr == "Não foi possível conectar ao servidor. Verifique se ele está online.\n"


def test_porta_ocupada() -> None:
    """O servidor que não consegue a porta diz qual é, e o que fazer."""
    with socket.create_server(("127.0.0.1", 0)) as outro:
        porta = outro.getsockname()[1]
        servidor = executa("servidor.py", "--host", "127.0.0.1", "--porta", str(porta))
    assert (servidor.returncode, servidor.stdout) == (1, "")
    assert f"a porta {porta} já está em uso" in servidor.stderr
    assert "--porta" in servidor.stderr and not INGLES.search(servidor.stderr)


def test_host_de_outra_maquina() -> None:
    """O servidor que não é daquele endereço diz isso."""
    servidor = executa("servidor.py", "--host", "192.0.2.1", "--porta", "0")  # um endereço reservado para documentos
    assert (servidor.returncode, servidor.stdout) == (1, "")
    assert "o endereço 192.0.2.1 não é desta máquina" in servidor.stderr and "Traceback" not in servidor.stderr
