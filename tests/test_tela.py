"""O que se vê na tela de quem conversa, num terminal de verdade: a linha, o que chega, as teclas, o fim."""

import contextlib
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("pty", reason="sem pseudoterminais (Windows)")

from atendimento.linha import dobrar, dobrar_entre_palavras, largura_total  # noqa: E402
from participante import PRAZO  # noqa: E402
from pseudoterminal import CIMA, CTRL_A, CTRL_C, CTRL_D, CTRL_K, CTRL_L, CTRL_U, CTRL_Z, DIREITA  # noqa: E402
from pseudoterminal import ENTER, ESQUERDA, TAB, Conexao, NoShell, NoTerminal, Programa  # noqa: E402
from test_falhas import demorado  # noqa: E402
from test_programas import ACABOU, ENTROU, INICIO, LIVRE, NAO_ENVIADO, PARA_ANA, PARA_BIA, PARA_YURI  # noqa: E402
from test_programas import PROMPT, SESSAO_ENCERRADA, Cena, abrir, cena, fila  # noqa: E402
from test_protocolo import FAMILIA, casos  # noqa: E402

__all__ = ["abrir", "cena", "fila"]  # acessórios que os testes pedem pelo nome


def colar(texto: str) -> str:
    return f"\x1b[200~{texto}\x1b[201~"


# --- A mensagem que chega -------------------------------------------------------------------------


@pytest.mark.parametrize("colunas", [20, 33, *(demorado(largas, id=str(largas)) for largas in (80, 160, 200))])
def test_nada_se_mistura(fila: Cena, colunas: int) -> None:
    """Teclas e mensagens em ordem sorteada: a cada passo a tela e o cursor são os que têm de ser."""
    sorte = random.Random(colunas)
    ana, yuri = fila.conversa(colunas=colunas)
    mensagens = [parte for linha in INICIO.split("\n") for parte in dobrar_entre_palavras(linha, colunas, "  ")]
    antes, depois = [], []
    for passo in range(40):
        match sorte.choice(["letra", "letra", "muitas", "esquerda", "direita", "inicio", "mensagem", "mensagem"]):
            case "letra":
                antes.append(sorte.choice(["a", " ", "ç", "漢", "😀", FAMILIA, "e\u0301"]))
                yuri.digita(antes[-1])
            case "muitas" if len(antes) + len(depois) < 4 * colunas:
                antes += sorte.choices("abc漢é", k=sorte.choice([5, colunas, colunas - len(PARA_ANA) % colunas]))
                yuri.digita(CTRL_A + CTRL_K + "".join(antes + depois) + ESQUERDA * len(depois))
            case "esquerda" if antes:
                depois.insert(0, antes.pop())
                yuri.digita(ESQUERDA)
            case "direita" if depois:
                antes.append(depois.pop(0))
                yuri.digita(DIREITA)
            case "inicio":
                antes, depois = [], antes + depois
                yuri.digita(CTRL_A)
            case "mensagem":
                texto = f"{passo} " + "".join(sorte.choices("abcç漢 😀", k=sorte.choice([1, 10, colunas, 3 * colunas])))
                ana.envia(texto)
                mensagens += dobrar_entre_palavras(f"[Ana]: {texto}", colunas, "  ")
        linhas = [*mensagens, *dobrar(PARA_ANA + "".join(antes + depois), colunas)]
        tela = "\n".join(linha.rstrip() for linha in linhas).rstrip("\n")
        yuri.espera_tela(tela)
        *acima, no_cursor = dobrar(PARA_ANA + "".join(antes), colunas)
        abaixo, coluna = divmod(largura_total(no_cursor), colunas)  # na borda, o cursor já está na linha seguinte
        yuri.espera_cursor(len(mensagens) + len(acima) + abaixo - len(tela.split("\n")), coluna)


def test_linha_que_acaba_na_borda(fila: Cena) -> None:
    """Uma linha de exatamente tantas colunas não perde a mensagem de antes, nem ganha uma linha vazia."""
    ana, yuri = fila.conversa()
    tela = INICIO
    for sobra in (-1, 0, 1):
        texto = "x" * (yuri.colunas - len(PARA_ANA) + sobra)
        yuri.digita(texto)
        yuri.espera_tela(f"{tela}\n{PARA_ANA}{texto}")
        ana.envia("Oi!")
        yuri.espera_tela(f"{tela}\n[Ana]: Oi!\n{PARA_ANA}{texto}")
        yuri.digita(CTRL_A)
        yuri.espera_cursor(-2 if sobra > 0 else -1, len(PARA_ANA))
        ana.envia("E então?")
        tela += f"\n[Ana]: Oi!\n[Ana]: E então?\n{PARA_ANA}{texto}"
        yuri.espera_tela(tela)
        yuri.digita(ENTER)
        yuri.espera_tela(f"{tela}\n{PARA_ANA}")


def test_janela_que_muda(fila: Cena) -> None:
    """A linha continua inteira e uma só, em qualquer largura, e nenhuma mensagem se perde."""
    ana, yuri = fila.conversa()
    texto = "uma frase de umas tantas palavras, com ação e 漢字 no meio, " * 3
    yuri.digita(texto + ESQUERDA * 30)
    yuri.espera_no_fim(*dobrar(PARA_ANA + texto, 80))
    for n, colunas in enumerate([60, 100, 20, 200, 41, 80]):
        yuri.redimensiona(colunas)
        yuri.espera_no_fim(*dobrar(PARA_ANA + texto, colunas))
        ana.envia(f"mensagem {n}")
        yuri.espera_no_fim(f"[Ana]: mensagem {n}", *dobrar(PARA_ANA + texto, colunas))
        yuri.digita("!")
        texto = texto[: len(texto) - 30] + "!" + texto[len(texto) - 30 :]
        yuri.espera_no_fim(*dobrar(PARA_ANA + texto, colunas))
        assert all(f"[Ana]: mensagem {vista}" in yuri.tela for vista in range(n + 1))
        assert yuri.tela.replace("\n", "").count("Sua mensagem") == 1


def test_linha_maior_que_a_janela(fila: Cena) -> None:
    """De uma linha com mais linhas que a janela, vê-se o que está em volta do cursor; Enter a mostra inteira."""
    ana, yuri = fila.conversa(colunas=20)
    texto = "".join(f"{n:04} " for n in range(200))
    yuri.digita(texto)
    yuri.espera_no_fim("95 0196 0197 0198 01", "99")
    ana.envia("Oi!")
    yuri.espera_na_tela("[Ana]: Oi!\n")
    yuri.digita(CTRL_A)
    yuri.espera_na_tela("[Ana]: Oi!\nSua mensagem para An")
    yuri.digita(ENTER)
    ana.espera_na_tela(f"[Yuri]: {texto}\n")
    yuri.espera_no_fim("99", "Sua mensagem para An", "a:")


def test_continuacao_recuada(fila: Cena) -> None:
    """O que Ana escreve não imita um aviso na coluna 0; a largura é a do terminal, e não a de um COLUMNS velho."""
    ana, yuri = fila.conversa(COLUMNS="20", LINES="5")
    falso = "*** Atendimento encerrado. ***"
    ana.envia(f"{'x' * 73} {falso}")
    yuri.espera_no_fim(f"[Ana]: {'x' * 73}", f"  {falso}", PARA_ANA)


def test_enxurrada(fila: Cena) -> None:
    """O que chega junto é um desenho só, nada se perde, e a linha que se digita não se estraga."""
    ana, yuri = fila.conversa()
    yuri.digita("meia linha")
    yuri.espera_no_fim(PARA_ANA + "meia linha")
    ana.envia("\n".join(map(str, range(3_000))))
    yuri.espera_no_fim("[Ana]: 2998", "[Ana]: 2999", PARA_ANA + "meia linha")
    assert re.findall(r"^\[Ana\]: (\d+)$", yuri.tela, re.MULTILINE) == [str(n) for n in range(3_000)]
    assert yuri.saida.count(PARA_ANA) < 600


# --- As teclas ------------------------------------------------------------------------------------


def test_historico_e_completar(fila: Cena) -> None:
    """↑ traz o que foi enviado, e não o nome; TAB completa o comando."""
    fila.conecta("ATENDENTE", "Ana")
    yuri = fila.terminal("cliente.py")
    yuri.espera_tela("Digite seu nome:")
    yuri.digita("Yuri" + ENTER)
    yuri.espera_no_fim(PARA_ANA)
    yuri.digita(CIMA + "um" + ENTER)
    yuri.espera_no_fim(PARA_ANA + "um", PARA_ANA)
    yuri.digita("dois" + CIMA + "!")
    yuri.espera_no_fim(PARA_ANA + "um", PARA_ANA + "um!")
    yuri.digita(CTRL_U + "/EN" + TAB)
    yuri.espera_no_fim(PARA_ANA + "/encerrar")
    yuri.digita(ENTER)
    fim = "*** Atendimento encerrado. Você encerrou a conversa. ***"
    assert yuri.espera_fim().endswith(f"{fim}\n{SESSAO_ENCERRADA}")


@casos("tecla, fim", {"ctrl-c": (CTRL_C, "Saindo..."), "ctrl-d": (CTRL_D, PARA_ANA.strip())})
def test_ctrl_c_e_ctrl_d(fila: Cena, tecla: str, fim: str) -> None:
    """Ctrl+C limpa a linha e, vazia, sai; Ctrl+D apaga à direita e, na linha vazia, sai com fim de linha."""
    _, yuri = fila.conversa()
    yuri.digita("meia linha" + CTRL_C + "ab" + ESQUERDA + CTRL_D + CTRL_L)
    yuri.espera_tela(PARA_ANA + "a")  # Ctrl+L limpou a janela
    yuri.digita(CTRL_C)
    yuri.espera_tela(PARA_ANA)
    yuri.digita(tecla)
    assert yuri.espera_fim().endswith(fim)
    assert yuri.emulador.cursor == (0, 0)


def test_colar(fila: Cena) -> None:
    """Nada vai antes do Enter; com ele vão todas as linhas, na ordem, e nenhuma é um comando."""
    ana, yuri = fila.conversa()
    yuri.digita(colar("um\r/sair\rFIM:três\r"))
    yuri.espera_no_fim(PARA_ANA + "um↵/sair↵FIM:três")
    yuri.digita("!")
    yuri.espera_no_fim(PARA_ANA + "um↵/sair↵FIM:três!")
    assert "um" not in ana.saida
    yuri.digita(ENTER)
    assert ana.espera_na_tela("três!\n").endswith("CONECTADO:Yuri\n[Yuri]: um\n[Yuri]: /sair\n[Yuri]: FIM:três!\n")
    yuri.espera_no_fim(PARA_ANA + "um", "  /sair", "  FIM:três!", PARA_ANA)


def test_colar_muitas_linhas(fila: Cena) -> None:
    """Acima de cinco linhas pergunta antes: Enter envia, Ctrl+C desiste."""
    ana, yuri = fila.conversa()
    seis = "\n".join("abcdef")
    for tecla in (CTRL_C, ENTER):
        yuri.espera_no_fim(PARA_ANA)
        yuri.digita(colar(seis) + ENTER)
        yuri.espera_no_fim("(São 6 linhas. Enter envia todas; Ctrl+C desiste.)", PARA_ANA + "a↵b↵c↵d↵e↵f")
        yuri.digita(tecla)
    assert ana.espera_na_tela("f\n").endswith("CONECTADO:Yuri\n" + "".join(f"[Yuri]: {letra}\n" for letra in "abcdef"))


def test_mensagem_longa_demais(fila: Cena) -> None:
    """O que não cabe numa linha do protocolo não vai, e o texto continua na linha, para ser encurtado."""
    ana, yuri = fila.conversa(colunas=200)
    texto = "x" * 4090
    yuri.digita(texto + ENTER)
    yuri.espera_na_tela("(Mensagem longa demais (máximo de 4096 bytes; sobram 3); não foi enviada.)")
    yuri.digita("\x7f" * 3 + ENTER)
    assert ana.espera_na_tela("x\n").endswith(f"CONECTADO:Yuri\n[Yuri]: {'x' * 4087}\n")


# --- O terminal volta a ser o que era -------------------------------------------------------------


@pytest.fixture
def no_shell(fila: Cena) -> Callable[..., tuple[Conexao, NoShell]]:
    """Ana, e Yuri que abriu o programa num shell e já conversa."""

    def abrir(*opcoes: str) -> tuple[Conexao, NoShell]:
        ana = fila.conecta("ATENDENTE", "Ana")
        yuri = fila.pilha.enter_context(NoShell(*opcoes, ambiente={"PS1": "$ ", "ENV": ""}))
        yuri.espera_no_fim("$")
        yuri.digita(f"{sys.executable} cliente.py --nome Yuri --porta {fila.porta}{ENTER}")
        yuri.espera_no_fim(PARA_ANA)
        return ana, yuri

    return abrir


def test_ctrl_z_e_fg(no_shell: Callable) -> None:
    """Parado o programa, o terminal é o de sempre; na volta, a linha e o que chegou enquanto isso."""
    ana, yuri = no_shell("-i")
    yuri.digita("meia linha" + CTRL_Z)
    yuri.espera_no_fim("$")
    yuri.digita("echo $((20 + 3))" + ENTER)
    yuri.espera_no_fim("$ echo $((20 + 3))", "23", "$")
    ana.envia("Voltou?")
    yuri.digita("fg" + ENTER)
    yuri.espera_no_fim("[Ana]: Voltou?", PARA_ANA + "meia linha")
    yuri.digita("!" + ENTER)
    ana.espera_na_tela("[Yuri]: meia linha!\n")
    yuri.digita("/sair" + ENTER)
    yuri.espera_no_fim("$")
    yuri.digita("exit" + ENTER)
    yuri.espera_fim()


def test_fim_no_meio_da_frase(no_shell: Callable) -> None:
    """O que se escrevia fica à vista, Enter fecha, e o shell não executa nada daquilo."""
    ana, yuri = no_shell("-i")
    yuri.digita("echo exe")
    yuri.espera_no_fim(PARA_ANA + "echo exe")
    ana.envia("FIM:")
    yuri.espera_no_fim("*** Sessão encerrada. ***", ACABOU, PROMPT + "echo exe")
    yuri.digita("cutado")
    yuri.espera_no_fim(PROMPT + "echo executado")
    yuri.digita(ENTER)
    yuri.espera_no_fim(PROMPT + "echo executado", "$")
    yuri.digita("exit" + ENTER)
    yuri.espera_fim()


def test_o_que_ja_estava_no_teclado(no_shell: Callable) -> None:
    """O que se digitou antes de ver o fim não chega ao shell, nem com um Enter no meio."""
    if not shutil.which("pgrep"):
        pytest.skip("sem o pgrep, que diz qual é o processo do programa")
    ana, yuri = no_shell("-i", "+m")
    pid = int(subprocess.check_output(["pgrep", "-P", str(yuri.processo.pid)]))
    os.kill(pid, signal.SIGSTOP)
    yuri.digita("echo um" + ENTER + "echo dois")
    ana.envia("FIM:")
    os.kill(pid, signal.SIGCONT)
    # O Enter ou foi antes do fim, e mandou a frase a Ana, ou veio cedo demais para valer.
    yuri._le_ate(lambda: yuri.tela.endswith("echo dois") and ACABOU in yuri.tela, ACABOU)
    yuri.digita(ENTER)
    yuri.espera_no_fim("$")
    yuri.digita("exit" + ENTER)
    assert "\num\n" not in yuri.espera_fim()


def test_sinais_que_encerram(fila: Cena) -> None:
    """O terminal volta a ser o que era, e o outro lado sabe."""
    sinais = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGHUP: 128 + signal.SIGHUP, signal.SIGINT: 0}
    conversas = [fila.conversa() for _ in sinais]
    for (ana, yuri), (sinal, codigo) in zip(conversas, sinais.items()):
        yuri.digita("meia linha")
        yuri.espera_no_fim(PARA_ANA + "meia linha")
        yuri.processo.send_signal(sinal)
        yuri.espera_fim(codigo)
        assert "meia linha" not in ana.espera_na_tela("O cliente Yuri desconectou.\n")


COM_PRESSA = """
import sys, cliente
from atendimento import maquina
maquina.ARRUMAR_EM = 0.1
sys.argv[0] = "cliente.py"
sys.exit(cliente.main())
"""


def test_sair_com_a_saida_parada(fila: Cena) -> None:
    """Quem espera que a tela ande não impede o programa de sair."""
    ana, yuri = fila.conversa("-c", COM_PRESSA)
    # Até que, de Ana à tela que não se lê, ninguém tenha onde pôr mais.
    while select.select([], [ana.sock], [], 0.2)[1]:
        ana.sock.send(b"texto\n" * 1_000)
    yuri.processo.send_signal(signal.SIGTERM)
    assert yuri.processo.wait(PRAZO) == 128 + signal.SIGTERM


SINAIS_DE_QUEM_LANCOU = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGWINCH, signal.SIGINT])
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_sinais_de_quem_lancou(fila: Cena) -> None:
    """Os bloqueados voltam a valer; o que foi ignorado ao nascer (nohup) continua ignorado."""
    _, yuri = fila.conversa("-c", SINAIS_DE_QUEM_LANCOU, "cliente.py")
    yuri.processo.send_signal(signal.SIGHUP)
    yuri.redimensiona(20)
    yuri.espera_no_fim("Sua mensagem para An", "a:")
    yuri.processo.send_signal(signal.SIGTERM)
    yuri.espera_fim(128 + signal.SIGTERM)


def test_sinais_de_quem_lancou_o_servidor() -> None:
    """O mesmo, no servidor."""
    with NoTerminal("-c", SINAIS_DE_QUEM_LANCOU, "servidor.py", "--porta", "0") as servidor:
        servidor.espera_na_tela("Ctrl+C encerra.")
        servidor.processo.send_signal(signal.SIGHUP)
        servidor.processo.send_signal(signal.SIGINT)
        servidor.espera_fim()


SINAIS_NA_PIOR_HORA = """
import signal, sys, cliente

class ComATrava(cliente.Cliente):
    def conversar(self):
        quadro = self.tela.desenho()
        quadro.__enter__()
        signal.raise_signal(signal.SIGTERM)

sys.argv[0] = "cliente.py"
try:
    cliente.main(ComATrava)
finally:
    signal.raise_signal(signal.SIGWINCH)
"""


def test_sinais_na_pior_hora(fila: Cena) -> None:
    """O que encerra, logo depois de se tomar a trava; a janela que muda, com o terminal já como era: ele fica assim."""
    fila.terminal("-c", SINAIS_NA_PIOR_HORA, "--nome", "Yuri").espera_fim(128 + signal.SIGTERM)


SAINDO_SE_INTERROMPE = """
import signal, sys, cliente
from atendimento.tela import Tela

class SemResposta(cliente.Cliente):
    def conectar(self):
        super().conectar()
        self.lotes = iter(list, None)  # e não um recv: o sinal que vem logo antes dele espera que ele volte

sair = Tela.__exit__
Tela.__exit__ = lambda *argumentos: signal.raise_signal(signal.SIGINT) or sair(*argumentos)
sys.argv[0] = "cliente.py"
sys.exit(cliente.main(SemResposta))
"""


def test_dois_ctrl_c(cena: Cena) -> None:
    """O segundo Ctrl+C, que chega enquanto se sai, não interrompe a saída, nem antes do primeiro prompt."""
    aceita = cena.impostor()
    yuri = cena.terminal("-c", SAINDO_SE_INTERROMPE)
    aceita().espera_na_tela("CLIENTE\n")
    yuri.digita(CTRL_C)
    assert yuri.espera_fim() == "Saindo..."


# --- Com quem se fala, e o fim --------------------------------------------------------------------


def test_cliente_sai_sozinho(fila: Cena) -> None:
    """Sem nada escrito, o programa termina sem Enter, e sem prompt."""
    ana, yuri = fila.conversa()
    ana.envia("FIM:")
    fim = "*** Atendimento encerrado. O atendente Ana encerrou a conversa. ***"
    assert yuri.espera_fim() == f"{INICIO}\n{fim}\n{SESSAO_ENCERRADA}"


def esperar_que_diga_pronto(ana: NoTerminal) -> None:
    """Respondido o que veio depois, o servidor já leu o primeiro `PRONTO:` dela; daqui em diante, espera os outros."""
    ana.espera_no_fim(LIVRE, PROMPT)
    ana.digita("/fila" + ENTER)
    ana.espera_no_fim("(Nenhum cliente na fila.)", PROMPT)


@contextlib.contextmanager
def bia_espera_que_yuri_saia(fila: Cena, ana: NoTerminal) -> Iterator[Conexao]:
    """Ana, que começa livre, conversa com Yuri até o fim do bloco; e Bia, na fila."""
    esperar_que_diga_pronto(ana)
    with fila.conecta("CLIENTE", "Yuri", ate="CONECTADO:Ana\n"):
        bia = fila.conecta("CLIENTE", "Bia", ate="FILA:1\n")
        ana.espera_no_fim(PARA_YURI)
        yield bia


def conferir_que_bia_so_le_o_que_e_dela(ana: NoTerminal, bia: Conexao) -> None:
    ana.espera_no_fim("*** Conexão estabelecida! Você está falando com Bia. ***", PARA_BIA)
    ana.digita("Oi, Bia" + ENTER)
    assert bia.espera_na_tela("Oi, Bia\n") == "NOME:\nFILA:1\nCONECTADO:Ana\n[Ana]: Oi, Bia\n"


def test_frase_que_era_para_quem_saiu(fila: Cena) -> None:
    """A frase pela metade não vai para o seguinte: Enter só o chama, e ↑ traz o texto de volta."""
    ana = fila.terminal("atendente.py", "--nome", "Ana")
    with bia_espera_que_yuri_saia(fila, ana) as bia:
        ana.digita("segredo de Yuri")
        ana.espera_no_fim(PARA_YURI + "segredo de Yuri")
    ana.espera_no_fim("*** Chat encerrado. ***", *NAO_ENVIADO, PROMPT)
    ana.digita(" e mais" + ENTER)
    ana.espera_no_fim(PARA_BIA)
    ana.digita(CIMA + CIMA)
    ana.espera_no_fim(PARA_BIA + "segredo de Yuri")
    ana.digita(CTRL_U)
    conferir_que_bia_so_le_o_que_e_dela(ana, bia)


def test_so_espacos_nao_sao_uma_frase(fila: Cena) -> None:
    """Não há o que trazer de volta: o próximo é chamado na hora, e os espaços não vão na primeira frase para ele."""
    ana = fila.terminal("atendente.py", "--nome", "Ana")
    with bia_espera_que_yuri_saia(fila, ana) as bia:
        ana.digita("   ")
        ana.espera_cursor(-1, len(PARA_YURI) + 3)
    conferir_que_bia_so_le_o_que_e_dela(ana, bia)


LE_E_SO_DEPOIS_ACABA = """
import sys, threading, cliente
from atendente import Atendente
acabou = threading.Event()

class Lenta(Atendente):
    def contar_fim(self, mensagem):
        Atendente.contar_fim(self, mensagem)
        acabou.set()

    def interpretar(self, linha):
        if linha != "/fila":
            self.tela.mostrar("(lida)")
            acabou.wait()
        return super().interpretar(linha)

sys.argv[0] = "atendente.py"
sys.exit(cliente.main(Lenta))
"""


def test_a_conversa_que_acaba_entre_o_enter_e_o_envio(fila: Cena) -> None:
    """É como se tivesse acabado antes do Enter: a frase não vai a ninguém, ↑ a traz, e só outro chama o próximo."""
    ana = fila.terminal("-c", LE_E_SO_DEPOIS_ACABA, "--nome", "Ana")
    with bia_espera_que_yuri_saia(fila, ana) as bia:
        ana.digita("segredo de Yuri" + ENTER)
        ana.espera_no_fim(PARA_YURI + "segredo de Yuri", "(lida)")
    ana.espera_no_fim("*** Chat encerrado. ***", *NAO_ENVIADO, PROMPT)
    ana.digita(CIMA)
    ana.espera_no_fim(PROMPT + "segredo de Yuri")
    ana.digita(CTRL_U + ENTER)
    conferir_que_bia_so_le_o_que_e_dela(ana, bia)


def test_sem_teclado_a_frase_que_a_conversa_nao_esperou(fila: Cena) -> None:
    """O aviso não promete a seta que ali não há."""
    argumentos = ("-c", LE_E_SO_DEPOIS_ACABA, "--nome", "Ana", "--porta", str(fila.porta))
    ana = fila.pilha.enter_context(Programa(*argumentos, entrada=b"segredo de Yuri\n"))
    ana.espera_na_tela("(lida)\n")
    ana.espera_na_tela(LIVRE)
    with fila.conecta("CLIENTE", "Yuri", ate="CONECTADO:Ana\n"):
        pass
    assert "\n(Chamando o próximo; o que você escreveu não foi enviado.)\n" in ana.espera_fim()


@pytest.mark.parametrize("digitado", ["para {}", "/encerrar", "/transferir B"], ids=["frase", "encerrar", "transferir"])
@pytest.mark.parametrize("vezes", [pytest.param(30, id="trinta"), demorado(500, id="quinhentas")])
def test_o_enter_que_cruza_com_a_saida(abrir: Callable, digitado: str, vezes: int) -> None:
    """O cliente sai no instante em que o atendente aperta Enter, muitas vezes: nunca isso chega ao seguinte."""
    fila = abrir(departamentos=["A", "B"])
    ana = fila.terminal("atendente.py", "--nome", "Ana", "--departamento", "A", "--sem-som")
    esperar_que_diga_pronto(ana)
    atual = fila.conecta("CLIENTE:A", "C0", ate="CONECTADO:Ana\n")
    for n in range(vezes):
        seguinte = fila.conecta("CLIENTE:A", f"C{n + 1}", ate="FILA:1\n")
        atual.envia("Oi")  # a conversa é esta, e ninguém a acabou
        prompt = f"Sua mensagem para C{n}:"
        ana._le_ate(lambda: f"[C{n}]: Oi\n" in ana.tela and ana.tela.endswith(f"\n{prompt}"), prompt)
        frase = digitado.format(f"C{n}")
        ana.digita(frase)
        ana.espera_no_fim(f"{prompt} {frase}")
        # Um sai pela porta e o outro se despede; ora um é o primeiro, ora o outro.
        for acao in [lambda: ana.digita(ENTER), lambda: atual.sai(com_fim=n % 4 < 2)][:: 1 if n % 2 else -1]:
            acao()
        # Se o Enter veio cedo demais para valer, outro chama o próximo.
        ana._le_ate(lambda: f"com C{n + 1}." in ana.tela or ana.tela.endswith(f"\n{PROMPT.strip()}"), "o seguinte")
        if f"com C{n + 1}." not in ana.tela:
            ana.digita(ENTER)
        seguinte.espera_na_tela("CONECTADO:Ana\n")
        atual.espera_fim()
        assert re.sub(rf"FIM:.*|FILA:\d|AVISO:.*|CONECTADO:Ana|NOME:|\[Ana\]: para C{n}|\n", "", atual.saida) == ""
        ana.emulador.esquecer()
        atual = seguinte
    assert "\a" not in ana.saida  # com `--sem-som`, nenhuma conversa toca


# --- A senha --------------------------------------------------------------------------------------


def test_senha_do_atendente(abrir: Callable) -> None:
    """Digitada, não aparece."""
    ana = abrir(senha="segredo").terminal("atendente.py", "--nome", "Ana")
    ana.espera_no_fim("Senha dos atendentes:")
    ana.digita("segredo" + CTRL_L)
    ana.espera_tela("Senha dos atendentes:")  # Ctrl+L limpou a janela
    ana.digita(ENTER)
    ana.espera_tela("\n".join(["Senha dos atendentes:", *ENTROU["atendente.py"].split("\n"), LIVRE, PROMPT]))


# --- Sem terminal, ou quase -----------------------------------------------------------------------

DE_IDE = """
import os, sys, cliente

class DeIDE:
    \"\"\"Como os fluxos do IDLE: dizem-se terminais, e não têm descritor.\"\"\"
    def __init__(self, descritor): self.arquivo = os.fdopen(descritor, "w" if descritor else "r", closefd=False)
    def isatty(self): return True
    def write(self, texto): return self.arquivo.write(texto.encode("latin-1").decode("latin-1"))
    def flush(self): self.arquivo.flush()
    def readline(self, *limite): return self.arquivo.readline(*limite)

sys.stdin, sys.stdout = DeIDE(0), DeIDE(1)
sys.argv[0] = "cliente.py"
sys.exit(cliente.main())
"""


def test_console_de_ide(fila: Cena) -> None:
    """As perguntas aparecem, lê-se com `input()`, sem escapes, e só o que não cabe vira `?`; no fim, Enter fecha."""
    ana = fila.conecta("ATENDENTE", "Ana")
    yuri = fila.terminal("-c", DE_IDE)
    yuri.espera_tela("Digite seu nome:")
    yuri.digita("Yuri\n")
    yuri.espera_na_tela("(Se o que chega não aparece, Enter o mostra.)")
    yuri.espera_na_tela("falando com Ana.")
    yuri.digita("Olá\n")
    ana.espera_na_tela("[Yuri]: Olá\n")
    ana.envia("É o 漢字?\nFIM:")
    yuri.espera_na_tela("*** Sessão encerrada. ***\n(Enter fecha.)")
    yuri.digita("\n")
    assert "\n[Ana]: É o ???\n" in yuri.espera_fim()
    assert "\x1b" not in yuri.saida and "Sua mensagem" not in yuri.saida


DE_IDE_QUE_DIZ_QUE_LE = DE_IDE.replace("cliente", "atendente").replace(
    "readline(self, *limite): ", 'readline(self, *limite): sys.stdout.write("(lendo)\\n"); sys.stdout.flush(); '
)


@casos("digitado, visto", {
    "frase": ("segredo de Yuri", "(Chamando o próximo; o que você escreveu não foi enviado.)"),
    "comando": ("/pausa", "(Você está em pausa.)"),
})  # fmt: skip
def test_console_de_quem_atende(fila: Cena, digitado: str, visto: str) -> None:
    """O que só se leu depois do fim da conversa: a frase não vai a ninguém, e isso se diz; o comando vale."""
    ana = fila.terminal("-c", DE_IDE_QUE_DIZ_QUE_LE, "--nome", "Ana")
    ana.digita("/fila\n")  # respondido, o servidor já leu o primeiro `PRONTO:` dela
    ana._le_ate(lambda: "(Nenhum cliente na fila.)" in ana.tela and ana.tela.count("(lendo)") == 2, "a segunda leitura")
    with fila.conecta("CLIENTE", "Yuri", ate="CONECTADO:Ana\n"):
        bia = fila.conecta("CLIENTE", "Bia", ate="FILA:1\n")
        ana.espera_na_tela("falando com Yuri.")
    ana.espera_na_tela("(Enter chama o próximo.)")
    ana.digita(f"{digitado}\n")
    ana.espera_na_tela(visto)
    if digitado[0] != "/":
        ana.espera_na_tela("falando com Bia.")
    assert "segredo" not in bia.saida


def test_sem_entrada_ou_saida(fila: Cena) -> None:
    """Com a entrada ou a saída fechadas o programa conversa até o fim, sem traceback."""
    anas, yuris = [], []
    for fechadas in "<&-", ">&-", "<&- >&-":
        anas.append(fila.conecta("ATENDENTE", "Ana"))
        comando = f"exec {sys.executable} cliente.py --nome Yuri --porta {fila.porta} {fechadas}"
        yuris.append(fila.pilha.enter_context(NoShell("-c", comando)))
    for ana in anas:
        ana.espera_na_tela("CONECTADO:Yuri\n")
        ana.envia("Oi!\nFIM:")
    assert ["[Ana]: Oi!" in yuri.espera_fim() for yuri in yuris] == [True, False, False]


def test_comeco_e_fim_da_entrada(fila: Cena) -> None:
    """Um BOM no começo não é texto; o que acaba sem a quebra de linha também vale, no nome como na conversa."""
    ana = fila.conecta("ATENDENTE", "Ana")
    with fila.por_pipe("cliente.py", "\ufeffYuri".encode()) as yuri:
        ana.espera_na_tela("CONECTADO:Yuri\n")
        ana.envia("FIM:")
        yuri.espera_fim()
    meia_letra = b"\xc3"
    fila.por_pipe("cliente.py", "Bia\r\nOlá\r\n/sair".encode() + meia_letra).espera_fim()
    ana.espera_na_tela("CONECTADO:Bia\n[Bia]: Olá\nFIM:Atendimento encerrado. O cliente Bia desconectou.\n")


@casos("ambiente, vista", {"LC_ALL=C": ({"LC_ALL": "C"}, "ação"), "ascii": ({"PYTHONIOENCODING": "ascii"}, "a??o")})
def test_o_que_a_saida_nao_aceita(fila: Cena, ambiente: dict[str, str], vista: str) -> None:
    """No lugar do que não se pode mostrar há um `?`; o que se envia é o que se digitou."""
    ana, yuri = fila.conversa(**ambiente)
    yuri.digita("ação")
    yuri.espera_no_fim(PARA_ANA + vista)
    yuri.digita(ENTER)
    ana.espera_na_tela("[Yuri]: ação\n")
    ana.envia("ação")
    yuri.espera_no_fim(f"[Ana]: {vista}", PARA_ANA)


def test_term_dumb(fila: Cena) -> None:
    """Sem escapes: a linha se refaz com espaços e \\r, e dela se vê o que está em volta do cursor."""
    ana, yuri = fila.conversa(TERM="dumb", colunas=40)
    yuri.digita("bcd" + CTRL_A + "a")
    yuri.espera_no_fim(PARA_ANA + "abcd")
    ana.envia("Oi!")
    yuri.espera_no_fim("[Ana]: Oi!", PARA_ANA + "abcd")
    yuri.digita("\x05" + "x" * 30)
    yuri.espera_no_fim("[Ana]: Oi!", "x" * 18)
    yuri.digita(ENTER)
    ana.espera_na_tela("[Yuri]: abcd" + "x" * 30)
    yuri.digita("/sair" + ENTER)
    yuri.espera_fim()
    assert "\x1b" not in yuri.saida
