"""As linhas de comando: cada opção faz o que diz, e cada erro tem a sua frase, em português. E o log do servidor."""

import argparse
import ast
import contextlib
import errno
import io
import logging
import os
import queue
import re
import shlex
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from test_protocolo import casos

import atendente
import cliente
import servidor as modulo
from atendimento import log as modulo_do_log
from atendimento import terminal
from atendimento.filas import Filas
from atendimento.opcoes import ler_opcoes_da_conversa
from atendimento.rastro import Gravacao, Rastro, TravaDasFilas
from atendimento.registro import NAO_E_UM_REGISTRO
from atendimento.teclado import Console
from protocolo import Fim

RAIZ = Path(__file__).parent.parent


@pytest.fixture
def digita(monkeypatch):
    """A linha de comando que se digitou, sem senha no ambiente."""
    monkeypatch.delenv("FILA_SENHA", raising=False)
    return lambda *argumentos: monkeypatch.setattr(sys, "argv", list(argumentos))


@pytest.fixture
def abre(digita):
    """O servidor que as opções pedem, numa porta livre e ainda sem aceitar."""
    abertos = []

    def abrir(*opcoes: str) -> modulo.Servidor:
        digita("servidor.py", "--host", "127.0.0.1", "--porta", "0", *opcoes)
        aberto, registro = modulo.abrir(modulo.ler_opcoes())
        abertos.append(aberto)
        assert aberto.filas.ouvinte is registro
        return aberto

    yield abrir
    for aberto in abertos:
        aberto.server_close()
        if aberto.rastro:
            aberto.rastro.encerrar()
        if aberto.filas.ouvinte:
            aberto.filas.ouvinte.arquivo.close()


# --- O que cada opção do servidor muda ------------------------------------------------------------

ESCOLHE_NUCLEO = hasattr(os, "sched_setaffinity") and getattr(sys, "_is_gil_enabled", lambda: True)()


@casos(
    "opcoes, olhar, padrao, pedido",
    {
        "max-conexoes": ("--max-conexoes 7", lambda aberto: aberto.lugares.maximo, 1000, 7),
        "max-por-endereco": ("--max-por-endereco 7", lambda aberto: aberto.lugares.por_endereco, 100, 7),
        "um-decimo-ou-dez": ("--max-conexoes 20", lambda aberto: aberto.lugares.por_endereco, 100, 10),
        "ritmo": ("--ritmo 7", lambda aberto: aberto.ritmo, 200, 7),
        "prazo-identificacao": ("--prazo-identificacao 0,5", lambda aberto: aberto.prazo_identificacao, 60, 0.5),
        "prazo-envio": ("--prazo-envio 2.5", lambda aberto: aberto.carteiro.prazo_envio, 10, 2.5),
        "prazo-de-um-dia": ("--prazo-envio 86400", lambda aberto: aberto.carteiro.prazo_envio, 10, 86_400),
        "senha": ("--senha-atendentes seg\x1bredo", lambda aberto: aberto.senha, None, "segredo"),
        "departamentos": ("--departamentos 'A , e\u0301'", lambda aberto: aberto.filas.departamentos, (), ("A", "é")),
        "devolver-a-fila": ("--devolver-a-fila", lambda aberto: aberto.filas.devolver, False, True),
        "rastro": ("--rastro", lambda aberto: type(aberto.rastro), type(None), Rastro),
        "filme": (f"--rastro {os.devnull}", lambda aberto: type(aberto.rastro), type(None), Gravacao),
        "rastro-bytes": ("--rastro-bytes", lambda aberto: aberto.rastro and aberto.rastro.em_bytes, None, True),
        "trava": ("--rastro", lambda aberto: type(aberto.filas.trava), type(threading.Lock()), TravaDasFilas),
        "as-filas": ("--rastro", lambda aberto: getattr(aberto.filas.trava, "filas", 0) is aberto.filas, False, True),
        "varios-nucleos": ("--varios-nucleos", lambda aberto: bool(aberto.nucleos._todos), ESCOLHE_NUCLEO, False),
    },
)
def test_opcao_do_servidor(abre, opcoes, olhar, padrao, pedido):
    """O servidor que se abre é o que a opção pede; sem ela, o de sempre."""
    assert olhar(abre()) == padrao
    assert olhar(abre(*shlex.split(opcoes))) == pedido


def test_o_padrao_e_um_so(abre):
    """O servidor construído sem dizer nada é o que o programa abre sem opções."""
    do_programa, sem_dizer = abre(), modulo.Servidor(("127.0.0.1", 0), Filas())
    sem_dizer.server_close()
    (um, outro) = (
        (aberto.lugares.maximo, aberto.lugares.por_endereco, aberto.ritmo, aberto.senha, aberto.rastro)
        + (aberto.prazo_identificacao, aberto.carteiro.prazo_envio)
        for aberto in (do_programa, sem_dizer)
    )
    assert um == outro


def test_opcao_registro(abre, tmp_path):
    """As conversas vão para o arquivo pedido; sem a opção, para nenhum."""
    assert abre().filas.ouvinte is None
    assert abre("--registro", str(tmp_path / "conversas.csv")).filas.ouvinte.caminho == str(tmp_path / "conversas.csv")


def test_senha_no_ambiente(abre, monkeypatch, capsys):
    """`FILA_SENHA` vale pela opção, que a vence; vazia, é um engano, e não um servidor sem senha."""
    for variavel, opcoes, senha in (("x", [], "x"), ("x", ["--senha-atendentes", "y"], "y")):
        monkeypatch.setenv("FILA_SENHA", variavel)
        assert abre(*opcoes).senha == senha
    monkeypatch.setenv("FILA_SENHA", "")
    with pytest.raises(SystemExit) as fim:
        abre()
    vazia = "a variável FILA_SENHA está vazia: ponha nela a senha dos atendentes, ou apague-a"
    assert fim.value.code == 2 and capsys.readouterr().err.startswith(f"servidor.py: {vazia}\n")


def test_a_porta_de_outro_servidor(abre):
    """O servidor não sobe na porta em que outro já está."""
    porta = abre().server_address[1]
    with pytest.raises(SystemExit, match=f"^Não foi possível iniciar: a porta {porta} "):
        abre("--porta", str(porta))


def test_uma_turma_se_conecta_junta(abre):
    """Cem conexões esperam por quem as aceite, sem que o sistema recuse nem atrase nenhuma."""
    aberto = abre()
    with contextlib.ExitStack() as pilha:
        for _ in range(100):
            pilha.enter_context(socket.create_connection(aberto.server_address, timeout=1))


def test_preparar_o_processo(monkeypatch):
    """Threads baratas, e descritores para todas as conexões e para as que se despedem."""
    pedido = {}
    monkeypatch.setattr(sys, "setswitchinterval", lambda segundos: pedido.update(troca=segundos))
    monkeypatch.setattr(threading, "stack_size", lambda bytes: pedido.update(pilha=bytes))
    monkeypatch.setattr(modulo.maquina, "permitir_descritores", lambda quantos: pedido.update(descritores=quantos))
    modulo.preparar_o_processo(100)
    assert pedido == {"troca": 0.1, "pilha": 2**19, "descritores": 164}


# --- O que se diz ao subir ------------------------------------------------------------------------


@casos(
    "host, porta, opcao, rede, diz",
    {
        "padrao": ("0.0.0.0", 12345, "", "10.0.0.7", True),
        "outra-porta": ("::", 5000, " --porta 5000", "10.0.0.7", True),
        "so-esta-maquina": ("localhost", 12345, "", "10.0.0.7", False),
        "so-esta-maquina-pelo-numero": ("127.0.0.1", 12345, "", "10.0.0.7", False),
        "um-endereco": ("10.0.0.7", 5000, " --host 10.0.0.7 --porta 5000", "10.0.0.7", False),
        "sem-rede": ("0.0.0.0", 5000, " --porta 5000", None, False),
    },
)
def test_anunciar(caplog, monkeypatch, host, porta, opcao, rede, diz):
    """O servidor diz onde aceita e o que digitar nos outros terminais e, se aceita da rede, nas outras máquinas."""
    monkeypatch.setattr(modulo, "endereco_na_rede", lambda: rede)
    with caplog.at_level(logging.INFO, "fila"):
        modulo.anunciar(host, porta)
    frases = [
        f"Aceitando conexões em {host}, porta {porta}. Ctrl+C encerra.",
        f"Nesta máquina, em outros terminais: python cliente.py{opcao}   python atendente.py{opcao}",
    ]
    if diz:
        frases.append(f"Em outra máquina da rede: python cliente.py --host {rede}{opcao}")
    assert [linha.getMessage() for linha in caplog.records] == frases


@casos(
    "rota, interfaces, endereco",
    {
        "com-rota": (("127.0.0.1", 9), [], "127.0.0.1"),
        "num-switch": (None, ["127.0.0.1", "10.9.8.7"], "10.9.8.7"),
        "sem-rede": (None, ["127.0.0.1"], None),
    },
)
def test_endereco_na_rede(monkeypatch, rota, interfaces, endereco):
    """É o da rota para fora; sem nenhuma, o de uma interface; sem elas, não há o que dizer."""

    class Socket(socket.socket):
        def connect(self, _: tuple) -> None:
            if rota is None:
                raise OSError(errno.ENETUNREACH, "sem rede")
            super().connect(rota)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert sys.platform != "linux" or "127.0.0.1" in modulo.maquina._das_interfaces(sock)
    monkeypatch.setattr(socket, "socket", Socket)
    monkeypatch.setattr(modulo.maquina, "_das_interfaces", lambda _: interfaces)
    assert modulo.endereco_na_rede() == endereco


def test_o_registro_e_conferido_enquanto_se_serve():
    """Até haver um sinal, o registro diz de tempos em tempos o que descartou."""
    sinais, registro = Mock(empty=Mock(side_effect=[True, False]), get=Mock(side_effect=queue.Empty)), Mock()
    modulo.esperar_o_sinal(sinais, registro)
    sinais.get.assert_called_once_with(timeout=0.5)
    assert registro.conferir.called and not sinais.put.called


def test_fechar_a_janela_encerra(monkeypatch):
    """No Windows, a janela que se fecha manda encerrar como um sinal."""
    monkeypatch.setattr(modulo.maquina, "tratar_sinais", lambda *_: None)
    monkeypatch.setattr(modulo.maquina, "ao_fechar_a_janela", lambda encerrar: encerrar())
    assert modulo.ouvir_sinais().qsize() == 1


# --- O que não serve ------------------------------------------------------------------------------


NAO_ABRE = {
    "EADDRINUSE": "a porta 80 já está em uso. Feche o outro servidor ou escolha outra com --porta.",
    "EACCES": "sem permissão para usar a porta 80. Escolha uma acima de 1023 com --porta.",
    "EADDRNOTAVAIL": "o endereço casa não é desta máquina. Confira o valor de --host.",
    "gaierror": "o nome casa não foi encontrado. Confira o valor de --host.",
    "winerror": "a porta 80 está em uso, ou reservada. Feche o outro servidor ou escolha outra com --porta.",
}


@pytest.mark.parametrize(("erro", "frase"), NAO_ABRE.items(), ids=NAO_ABRE)
def test_motivo_de_nao_abrir(abre, monkeypatch, tmp_path, erro, frase):
    """O servidor que não consegue o endereço diz por quê e o que fazer, e não cria nem abre nada."""

    def recusa(sock: socket.socket, endereco: tuple) -> None:
        recusado = socket.gaierror() if erro == "gaierror" else OSError(getattr(errno, erro, errno.EACCES), "x")
        if erro == "winerror":
            recusado.winerror = 10013
        raise recusado

    monkeypatch.setattr(socket.socket, "bind", recusa)
    with pytest.raises(SystemExit, match=f"^Não foi possível iniciar: {re.escape(frase)}$"):
        abre("--host", "casa", "--porta", "80", "--registro", str(tmp_path / "x.csv"))
    assert not list(tmp_path.iterdir())


E_UMA_PASTA = "é uma pasta" if os.name == "posix" else "sem permissão"  # é o que o Windows diz dela


NAO_GRAVA = {
    "sem-pasta": ("--registro", "nenhuma/x.csv", "a pasta não existe"),
    "uma-pasta": ("--registro", ".", E_UMA_PASTA),
    "nao-e-um-registro": ("--registro", "notas.txt", NAO_E_UM_REGISTRO),
    "rastro": ("--rastro", "nenhuma/x.txt", "a pasta não existe"),
}


@casos("opcao, nome, motivo", NAO_GRAVA)
def test_arquivo_impossivel(abre, tmp_path, opcao, nome, motivo):
    """O servidor que não pode gravar o que lhe pedem não sobe, e diz o arquivo e o motivo."""
    (tmp_path / "notas.txt").write_text("comprar pão\n", encoding="utf-8")
    caminho = str(tmp_path / nome)
    with pytest.raises(SystemExit, match=f"^Não foi possível gravar em {re.escape(f'{caminho}: {motivo}')}.$"):
        abre(opcao, caminho)


DE_0, DE_1 = "--porta: use um inteiro de 0 a 65535, e não ", "--porta: use um inteiro de 1 a 65535, e não "
HOST = "--host: diga o nome, ou o endereço, de uma máquina"
MAXIMO = "--max-conexoes: use um inteiro de 1 a 1000000, e não "
ENVIO = "--prazo-envio: use segundos, acima de zero e até um dia, e não "
SENHA = "--senha-atendentes: a senha precisa ter ao menos um caractere que se possa digitar"
SEM_DEPARTAMENTO = "--departamento: diga o nome de um departamento"
NAO_SERVE = "--departamentos: o departamento {!r} não serve: use de 1 a 40 caracteres, sem : [ ] *"

USOS_ERRADOS = {
    "cliente.py --nome a[b]": "--nome: Nome inválido: use de 1 a 40 caracteres, sem colchetes.",
    "cliente.py --host ''": HOST,
    "servidor.py --host \udcff": HOST,
    "cliente.py --porta 0": DE_1 + "'0'",
    "cliente.py --porta 65536": DE_1 + "'65536'",
    "cliente.py --departamento ''": SEM_DEPARTAMENTO,
    "cliente.py --departamento ' \x00'": SEM_DEPARTAMENTO,
    "cliente.py --desconhecida": "opção desconhecida: --desconhecida",
    "cliente.py sobra": "opção desconhecida: sobra",
    "cliente.py --porta": "a opção --porta precisa de um valor",
    "cliente.py --json=sim": "a opção --json não recebe valor",
    "servidor.py --ajuda=sim": "a opção -h/--ajuda/--help não recebe valor",
    "servidor.py --por 1": "opção desconhecida: --por 1",
    "servidor.py --porta 65536": DE_0 + "'65536'",
    "servidor.py --porta abc": DE_0 + "'abc'",
    "servidor.py --porta ٣": DE_0 + "'٣'",
    "servidor.py --porta -1": DE_0 + "'-1'",
    "servidor.py --max-conexoes 0": MAXIMO + "'0'",
    "servidor.py --max-conexoes 1000001": MAXIMO + "'1000001'",
    "servidor.py --max-por-endereco -1": MAXIMO.replace("conexoes", "por-endereco").replace("de 1", "de 0") + "'-1'",
    "servidor.py --ritmo 2,5": "--ritmo: use um inteiro de 0 a 1000000, e não '2,5'",
    "servidor.py --prazo-envio -1": ENVIO + "'-1'",
    "servidor.py --prazo-envio 0": ENVIO + "'0'",
    "servidor.py --prazo-envio 86401": ENVIO + "'86401'",
    "servidor.py --prazo-envio nan": ENVIO + "'nan'",
    "servidor.py --prazo-envio 1s": ENVIO + "'1s'",
    "servidor.py --senha-atendentes ''": SENHA,
    "servidor.py --senha-atendentes '\x1b'": SENHA,
    "servidor.py --senha-atendentes \udcff": SENHA,
    "servidor.py --registro ''": "--registro: diga o nome do arquivo",
    "servidor.py --registro": "a opção --registro precisa de um valor",
    "servidor.py --departamentos Vendas,vENDAS": "--departamentos: há um departamento repetido",
    "servidor.py --departamentos Vendas,,Suporte": "--departamentos: há um nome vazio na lista",
    "servidor.py --departamentos ''": "--departamentos: há um nome vazio na lista",
    **{f"servidor.py --departamentos {nome}": NAO_SERVE.format(nome) for nome in ("a:b", "[a", "a]", "*", "x" * 41)},
    f"servidor.py --departamentos {','.join(f'{n:040}' for n in range(100))}": (
        "--departamentos: a lista de departamentos não cabe numa linha de 4096 bytes"
    ),
}


@pytest.mark.parametrize(("linha", "erro"), USOS_ERRADOS.items(), ids=[ascii(linha)[1:60] for linha in USOS_ERRADOS])
def test_uso_errado(digita, capsys, linha, erro):
    """O erro de quem digitou é dito em português, em stderr, com código 2."""
    programa, *opcoes = shlex.split(linha)
    digita(programa, *opcoes)
    with pytest.raises(SystemExit) as fim:
        modulo.ler_opcoes() if programa == "servidor.py" else ler_opcoes_da_conversa("", "")
    saida, erros = capsys.readouterr()
    assert (fim.value.code, saida) == (2, "")
    assert erros == f"{programa}: {erro}\nUse --ajuda para ver as opções.\n"


PROGRAMAS = ["servidor.py", "cliente.py", "atendente.py"]
DA_DOCUMENTACAO = [arquivo for arquivo in (RAIZ / "docs").glob("**/*.py") if arquivo.parent.name != "conferidor"]
UM_PYTHON_VELHO = """
import runpy, sys
sys.version_info = (3, 9, 18)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("programa", [*PROGRAMAS, "docs/conferir.py"])
def test_python_velho_demais(programa):
    """O programa diz de qual precisa: para chegar a dizê-lo, ele e o que importa antes têm de se compilar lá."""
    for arquivo in {programa, "cliente.py", "atendimento/__init__.py", "docs/conferidor/__init__.py"}:
        ast.parse((RAIZ / arquivo).read_text(encoding="utf-8"), feature_version=(3, 7))
    comando = [sys.executable, "-c", UM_PYTHON_VELHO, programa]
    ambiente = os.environ | {"PYTHONUTF8": "1", "PYTHONPATH": "docs"}
    fim = subprocess.run(comando, cwd=RAIZ, capture_output=True, encoding="utf-8", env=ambiente)
    precisa = "Este programa precisa do Python 3.10 ou mais novo; este é o 3.9.\n"
    assert (fim.returncode, fim.stdout, fim.stderr) == (1, "", precisa)


DESISTE = "  # um Python velho desiste aqui: use o 3.10"


def anotacoes(arvore: ast.AST) -> list[ast.expr]:
    """Os tipos de tudo o que os diz."""
    nos = ast.walk(arvore)
    return [vars(no)[campo] for no in nos for campo in ("annotation", "returns") if getattr(no, campo, None)]


@pytest.mark.parametrize("programa", PROGRAMAS)
def test_python_2(programa):
    """Ele mostra a primeira linha que não compila, e ela diz de qual se precisa."""
    linhas = (RAIZ / programa).read_text(encoding="utf-8").splitlines()
    arvore = ast.parse("\n".join(linhas))
    do_3 = anotacoes(arvore) + [no for no in ast.walk(arvore) if isinstance(no, ast.JoinedStr)]
    assert linhas[0] == "# coding: utf-8" and linhas[min(no.lineno for no in do_3) - 1].endswith(DESISTE)


@pytest.mark.parametrize("arquivo", DA_DOCUMENTACAO, ids=lambda arquivo: arquivo.stem)
def test_python_velho_na_documentacao(arquivo):
    """Em 3.8 e 3.9 ele roda, ou para na linha que diz de qual precisa, ou o diz o primeiro módulo que importa."""
    texto = arquivo.read_text(encoding="utf-8")
    arvore = ast.parse(texto)
    importados = re.findall(r"^(?:from|import) (\w+)", texto, re.MULTILINE)
    if do_310 := [no.lineno for no in ast.walk(arvore) if isinstance(no, ast.Match)]:
        assert texto.splitlines()[min(do_310) - 1].endswith(DESISTE)
    elif do_projeto := [nome for nome in importados if nome not in sys.stdlib_module_names]:
        assert do_projeto[0] in ("atendimento", "conferidor", "experimento")
    elif "__future__" not in importados:
        assert not re.search(r"[|\[]", " ".join(map(ast.unparse, anotacoes(arvore))))


DA_CONVERSA = "--host= --porta= --nome= --departamento= --json --sem-som", ["127.0.0.1", "12345"], []
DO_SERVIDOR = (
    "--host= --porta= --max-conexoes= --max-por-endereco= --ritmo= --prazo-identificacao= --prazo-envio= "
    "--senha-atendentes= --departamentos= --devolver-a-fila --registro= --rastro[ --rastro-bytes --varios-nucleos",
    ["0.0.0.0", "12345", "1000", "um décimo de --max-conexoes, ao menos 10", "200", "60", "10"],
    ["docs/filme.py", "docs/desempenho.md"],
)


@casos(
    "main, opcoes, padroes, documentos",
    {
        "servidor.py": (modulo.main, *DO_SERVIDOR),
        "cliente.py": (cliente.main, *DA_CONVERSA),
        "atendente.py": (atendente.main, *DA_CONVERSA),
    },
)
def test_ajuda(digita, capsys, monkeypatch, main, opcoes, padroes, documentos):
    """A ajuda diz em português o que faz cada opção e o seu padrão, que não é a senha; e não é um erro."""
    digita("programa.py", "--ajuda")
    monkeypatch.setenv("FILA_SENHA", "segredo")
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as fim:
        main()
    ajuda, erros = capsys.readouterr()
    assert (fim.value.code, erros) == (0, "") and ajuda.startswith("uso: programa.py [opções]\n")
    explicadas = re.findall(r"^  (--[\w-]+(?: \[?VALOR\]?)?)\s+\w+ \w+", ajuda, re.MULTILINE)
    assert explicadas == opcoes.replace("=", " VALOR").replace("[", " [VALOR]").replace(" --", "\n--").split("\n")
    assert re.findall(r"\(padrão: (.*?)\)", " ".join(ajuda.split())) == padroes
    textos = re.findall(r"^  --[\w-]+(?: \[?VALOR\]?)?\s+(\w+ \S+ \S+)", ajuda, re.MULTILINE)
    assert len(textos) == len(set(textos)) == len(explicadas), "duas opções com o mesmo texto"
    assert not re.search(r"[^\w\s),]\s+(\(|--|\Z)", ajuda), "uma explicação não acaba em ponto"
    assert re.findall(r"\(ver\s+(\S+)\)", ajuda) == documentos and all((RAIZ / nome).is_file() for nome in documentos)
    assert re.search(r"\n\n(Servidor|Cliente|Atendente) da fila de atendimento: [\w\s,]+\.\n\nopções:\n", ajuda)
    assert re.search(r"^opções:\n  -h, --ajuda, --help +mostra esta ajuda\n", ajuda, re.MULTILINE)
    assert not re.search(r"usage|error|argument|options|default|show this|choices", ajuda)


# --- Cores e log ----------------------------------------------------------------------------------


class DeIDE(io.StringIO):
    """Um fluxo que outro programa pôs no lugar: diz-se um terminal, e não tem descritor nem `reconfigure`."""

    def isatty(self) -> bool:
        return True


def test_usar_cores(monkeypatch):
    """Só num terminal de verdade, que as quer."""
    tela, arquivo = (type("Saida", (), {"fileno": lambda _, n=numero: n})() for numero in (7, 8))
    monkeypatch.setattr(os, "isatty", lambda numero: numero == 7)
    for no_color, term, cores in (("", "xterm", True), ("1", "xterm", False), ("", "dumb", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("TERM", term)
        assert terminal.usar_cores(tela) is cores
        assert not any(map(terminal.usar_cores, (arquivo, DeIDE(), None)))


@casos(
    "sistema, colorama, cores",
    {
        "nova": ("nt", Mock(), True),
        "velha": ("nt", Mock(spec=[]), False),
        "nenhuma": ("nt", None, False),
        "fora-do-windows": ("posix", None, True),
    },
)
def test_cores_em_cada_sistema(monkeypatch, sistema, colorama, cores):
    """No console do Windows, quem as liga é a colorama; nos outros terminais não se precisa dela."""
    monkeypatch.setattr(terminal, "e_terminal", lambda _: True)
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "colorama", colorama)
    with monkeypatch.context() as nele:
        nele.setattr(os, "name", sistema)
        usadas = terminal.usar_cores(sys.stdout)
    assert usadas is cores
    if colorama and cores:
        colorama.just_fix_windows_console.assert_called_once()


def test_console_de_ide_sem_saida(monkeypatch):
    """Sem uma saída, `input` não lê; a entrada, sim."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("oi\n"))
    monkeypatch.setattr(sys, "stdout", None)
    assert [Console().ler(), Console().ler()] == ["oi\n", None]


@pytest.mark.skipif(os.name == "nt", reason="lá um pipe sempre espera")
def test_a_saida_que_outro_programa_mudou():
    """Quem divide o terminal conosco pode tê-lo posto para não esperar: o que não coubesse se perderia."""
    leitura, escrita = os.pipe()
    os.set_blocking(escrita, False)
    with open(leitura), open(escrita, "w") as saida:
        terminal.aceitar_tudo(saida)
        assert os.get_blocking(escrita)


def test_colorir():
    """A cor é a pedida, e o texto volta à de antes; sem cores, ou sem cor, nada muda."""
    assert terminal.colorir("oi", "magenta", True) == "\x1b[35moi\x1b[0m"
    assert terminal.colorir("oi", "magenta", False) == terminal.colorir("oi", None, True) == "oi"


def linha_de_log(texto: str, quem: str = "fila", **extras: str) -> logging.LogRecord:
    linha = logging.LogRecord(quem, logging.INFO, "", 0, texto, (), None)
    vars(linha).update(extras)
    return linha


def test_o_log_nao_espera():
    """Com a saída parada, o que não cabe na fila do log é descartado."""
    fila = queue.Queue(1)
    for numero in range(2):
        modulo_do_log.LogSemEspera(fila).handle(linha_de_log(str(numero)))
    assert fila.get_nowait().getMessage() == "0" and fila.empty()


def test_a_forma_do_log():
    """Cada linha tem a hora e a marca, que num terminal tem a sua cor; o rastro vai como é."""
    liso, colorido = modulo_do_log.Formatador(False), modulo_do_log.Formatador(True)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[SERVIDOR\] Olá!", liso.format(linha_de_log("Olá!")))
    assert liso.format(linha_de_log("12:00 conexao-1", "fila.rastro")) == "12:00 conexao-1"
    cores = {"CONNECT": 32, "MATCHMAKER": 36, "DISCONNECT": 33, "RE-QUEUE": 34, "PAUSA": 34, "ERRO": 31}
    for marca, cor in cores.items():
        assert f" \x1b[{cor}m[{marca}]\x1b[0m Olá!" in colorido.format(linha_de_log("Olá!", marca=marca))


def registrar(saida: io.TextIOBase | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Liga o log a `saida`, e espera que diga `Olá!` nela."""
    logger = logging.getLogger("fila")
    antes, nivel = list(logger.handlers), logger.level
    monkeypatch.setattr(sys, "stdout", saida)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    fila = modulo_do_log.iniciar_log()
    try:
        logger.info("Olá!")
        fila.put(None)  # o fim da thread que escreve
        fila.join()
    finally:
        logger.handlers = antes
        logger.setLevel(nivel)
    assert not logging.raiseExceptions  # o que a saída recusa se perde sem traceback


def test_o_log_numa_saida_que_nao_tem_acentos(monkeypatch):
    """O que a saída não sabe escrever ela troca."""
    saida = io.BytesIO()
    registrar(io.TextIOWrapper(saida, encoding="ascii", newline="\n", write_through=True), monkeypatch)
    assert saida.getvalue().endswith(b" [SERVIDOR] Ol?!\n")


def test_o_log_sem_uma_saida_do_sistema(monkeypatch, capfd):
    """Numa IDE o log aparece, sem cores; sem saída nenhuma ele não vai para outro lugar."""
    na_ide = DeIDE()
    registrar(na_ide, monkeypatch)
    assert na_ide.getvalue().endswith(" [SERVIDOR] Olá!\n")
    with open(os.devnull, "w") as fechada:
        pass
    for nenhuma in None, fechada:
        registrar(nenhuma, monkeypatch)
    assert capfd.readouterr() == ("", "")


def test_por_que_nao_se_conecta():
    """Os erros comuns de quem se conecta têm nome em português: `fe80::1`, por exemplo, não diz por que interface."""
    sem_caminho = ["ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EINVAL"]
    motivos = dict.fromkeys(sem_caminho, "não há caminho até lá") | {"EPERM": "o sistema não deixa"}
    assert {nome: cliente.motivo(OSError(getattr(errno, nome), "x")) for nome in motivos} == motivos
    assert cliente.motivo(OSError(errno.EPIPE, "x")) == "x"


@casos("erro", {"caiu": BrokenPipeError(), "sem-caminho": OSError(errno.EHOSTUNREACH, "x"), "sumiu": TimeoutError()})
def test_enviar_numa_conexao_que_caiu(erro):
    """Quem diz que a conexão caiu é quem a lê: quem envia, seja qual for o erro do sistema, não diz nada."""
    quem = cliente.Cliente(None, argparse.Namespace(json=False, nome="Yuri"))
    quem.sock = Mock(sendall=Mock(side_effect=erro))
    quem.enviar(Fim())
    quem.sock.sendall.assert_called_once_with(b"FIM:\n")
