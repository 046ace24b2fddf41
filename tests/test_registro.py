"""O registro das conversas: o que fica no arquivo, e o que acontece quando o disco não ajuda."""

import csv
import errno
import logging
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from participante import PRAZO

import registro as modulo
from filas import Acontecimento, Conversa

COLUNAS = "momento,conversa,departamento,evento,de,para,texto".split(",")

FAMILIA = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

so_no_posix = pytest.mark.skipif(os.name != "posix", reason="usa permissões e limites do POSIX")


class Disco:
    """O arquivo de um registro, num disco com defeito.

    Grava no máximo `pedaco` bytes de cada vez. Enquanto `livre` não estiver ligado, está parado. Levanta
    cada erro de `erros`, na ordem, no lugar de uma gravação; `None` é uma que dá certo.
    """

    def __init__(self, arquivo, pedaco: int = 2**20, parado: bool = False, erros=()) -> None:
        self.arquivo = arquivo
        self.pedaco = pedaco
        self.erros = iter(erros)
        self.pedidos: list[int] = []  # os bytes de cada tentativa
        self.livre = threading.Event()
        self.procurado = threading.Event()  # alguém quis gravar
        self.gravou = threading.Semaphore(0)  # uma vez por gravação
        if not parado:
            self.livre.set()

    def write(self, dados: bytes) -> int:
        self.pedidos.append(len(dados))
        self.procurado.set()
        assert self.livre.wait(PRAZO)
        if numero := next(self.erros, None):
            raise OSError(numero, os.strerror(numero))
        gravados = self.arquivo.write(dados[: self.pedaco])
        self.gravou.release()
        return gravados

    def close(self) -> None:
        self.arquivo.close()


class DiscoPassoAPasso(Disco):
    """Um disco que só grava um pedaço quando o deixam."""

    def __init__(self, arquivo, pedaco: int) -> None:
        super().__init__(arquivo, pedaco)
        self.licenca = threading.Semaphore(0)
        self.a_espera = threading.Semaphore(0)  # a thread chegou ao próximo pedaço, ou ao fim

    def write(self, dados: bytes) -> int:
        self.a_espera.release()
        assert self.licenca.acquire(timeout=PRAZO)
        return super().write(dados)

    def close(self) -> None:
        super().close()
        self.a_espera.release(2)

    def passo(self, _prazo: float) -> None:
        """Deixa gravar um pedaço, e espera que o próximo esteja à porta."""
        self.licenca.release()
        assert self.a_espera.acquire(timeout=PRAZO)


@pytest.fixture
def caminho(tmp_path) -> Path:
    return tmp_path / "conversas.csv"


@pytest.fixture
def abrir(caminho, monkeypatch):
    """Abre registros, com o disco que o teste pedir, e os encerra no fim."""
    monkeypatch.setattr(modulo, "GRAVAR_A_CADA", 0.001)
    modulo._segundo.cache_clear()
    abertos = []

    def abrir(disco=None, **defeitos) -> modulo.Registro:
        registro = modulo.Registro(str(caminho))
        if disco or defeitos:
            registro.arquivo = (disco or Disco)(registro.arquivo, **defeitos)
        registro.iniciar()
        abertos.append(registro)
        return registro

    yield abrir
    for registro in abertos:
        if isinstance(registro.arquivo, Disco):
            registro.arquivo.livre.set()
        registro.encerrar(PRAZO)


class Escuta(logging.Handler):
    """O que o registro disse no log."""

    def __init__(self) -> None:
        super().__init__()
        self.mensagens: list[str] = []
        self.novas = threading.Semaphore(0)

    def emit(self, linha: logging.LogRecord) -> None:
        assert linha.marca == "REGISTRO"
        self.mensagens.append(linha.getMessage())
        self.novas.release()

    def espera(self, quantas: int) -> None:
        """Espera por mais `quantas` mensagens."""
        for _ in range(quantas):
            assert self.novas.acquire(timeout=PRAZO), f"só disse {self.mensagens}"


@pytest.fixture
def dito(caplog):
    escuta = Escuta()
    caplog.set_level(logging.INFO, "fila")
    modulo.log.addHandler(escuta)
    yield escuta
    modulo.log.removeHandler(escuta)


def conversa(numero: int = 1, departamento: str = "") -> Conversa:
    return Conversa(numero, "Yuri", "Ana", departamento, 0.0)


def mensagem(*textos: str, de: str = "Yuri", para: str = "Ana", departamento: str = "") -> Acontecimento:
    return Acontecimento(conversa(1, departamento), "mensagem", de, para, textos)


def ler(caminho: Path) -> list[list[str]]:
    """As linhas do arquivo, que tem de ser UTF-8 e CSV do começo ao fim."""
    with open(caminho, encoding="utf-8", newline="") as arquivo:
        return list(csv.reader(arquivo, strict=True))


def textos(caminho: Path) -> list[str]:
    """O texto de cada linha, sem o cabeçalho."""
    cabecalho, *linhas = ler(caminho)
    assert cabecalho == COLUNAS
    return [linha[6] for linha in linhas]


# --- O que fica no arquivo ------------------------------------------------------------------------


def test_conversa_inteira(abrir, caminho):
    """Início, mensagens e fim viram uma linha cada um, com as colunas na ordem do cabeçalho."""
    registro = abrir()
    atendimento = conversa(7, "Vendas")
    registro.ouvir(Acontecimento(atendimento, "inicio", "Yuri", "Ana", ("",), 0.0))
    registro.ouvir(Acontecimento(atendimento, "mensagem", "Yuri", "Ana", ("Olá!", "Tudo bem?"), 0.0))
    registro.ouvir(Acontecimento(atendimento, "fim", "", "", ("Servidor encerrado.",), 0.0))
    registro.encerrar(PRAZO)
    cabecalho, *linhas = ler(caminho)
    assert cabecalho == COLUNAS
    assert {linha[1] for linha in linhas} == {f"{registro.execucao}-7"}
    assert [linha[2:] for linha in linhas] == [
        ["Vendas", "inicio", "Yuri", "Ana", ""],
        ["Vendas", "mensagem", "Yuri", "Ana", "Olá!"],
        ["Vendas", "mensagem", "Yuri", "Ana", "Tudo bem?"],
        ["Vendas", "fim", "", "", "Servidor encerrado."],
    ]


def test_bytes_do_arquivo(abrir, caminho):
    """Cada linha acaba em `\\n`, e só tem aspas a célula que precisa delas."""
    registro = abrir()
    registro.ouvir(mensagem("Olá!", "sim, sim"))
    registro.encerrar(PRAZO)
    cabecalho, primeira, segunda, fim = caminho.read_bytes().split(b"\n")
    assert cabecalho.decode() == ",".join(COLUNAS)
    assert primeira.endswith(",,mensagem,Yuri,Ana,Olá!".encode())
    assert segunda.endswith(b',,mensagem,Yuri,Ana,"sim, sim"')
    assert fim == b""


@pytest.mark.parametrize(
    ("instante", "milissegundos"),
    [(1_795_000_000.0, 0), (1_795_000_000.123, 123), (1_795_000_000.0071, 7), (1_795_000_000.9997, 1000)],
    ids=["redondo", "exato", "zeros à esquerda", "vira o segundo"],
)
def test_momento(abrir, caminho, instante, milissegundos):
    """O momento é ISO 8601, com milissegundos e fuso, e relê-se no mesmo instante."""
    registro = abrir()
    registro.ouvir(Acontecimento(conversa(), "inicio", "Yuri", "Ana", ("",), instante))
    registro.encerrar(PRAZO)
    momento = ler(caminho)[1][0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", momento)
    relido = datetime.fromisoformat(momento)
    assert relido == datetime.fromtimestamp(1_795_000_000).astimezone() + timedelta(milliseconds=milissegundos)


@so_no_posix
def test_fuso_local(abrir, caminho, monkeypatch):
    """A hora é a do lugar do servidor."""
    monkeypatch.setenv("TZ", "<-03>3")
    time.tzset()
    try:
        registro = abrir()
        registro.ouvir(Acontecimento(conversa(), "inicio", "Yuri", "Ana", ("",), 1_795_000_000.25))
        registro.encerrar(PRAZO)
    finally:
        monkeypatch.undo()
        time.tzset()
        modulo._segundo.cache_clear()
    assert ler(caminho)[1][0] == "2026-11-18T08:06:40.250-03:00"


def test_identificador_unico_entre_execucoes(abrir, caminho):
    """A mesma conversa tem um só identificador; a de mesmo número noutra execução tem outro."""
    for _ in range(2):
        registro = abrir()
        registro.ouvir(mensagem("a"))
        registro.ouvir(mensagem("b"))
        registro.encerrar(PRAZO)
    primeira, igual, segunda, outra_igual = [linha[1] for linha in ler(caminho)[1:]]
    assert primeira == igual != segunda == outra_igual
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}-1", primeira)


@pytest.mark.parametrize(
    "texto",
    ['diz "oi"', '"', '""', "a, b", "duas\nlinhas", 'fim\n"', " espaços ", "'", "ação", FAMILIA, "a=b", "x" * 5000],
    ids=[
        "aspas",
        "uma aspa só",
        "duas aspas",
        "vírgula",
        "quebra de linha",
        "quebra e aspas",
        "espaços nas pontas",
        "apóstrofo",
        "acentos",
        "emoji composto",
        "sinal no meio",
        "comprido",
    ],
)
def test_texto_intacto(abrir, caminho, texto):
    """O que se escreve em qualquer coluna de texto relê-se igual, e não mexe com a linha seguinte."""
    registro = abrir()
    registro.ouvir(mensagem(texto, de=texto, para=texto, departamento=texto))
    registro.ouvir(mensagem("depois"))
    registro.encerrar(PRAZO)
    _, linha, seguinte = ler(caminho)
    assert linha[2:] == [texto, "mensagem", texto, texto, texto]
    assert seguinte[2:] == ["", "mensagem", "Yuri", "Ana", "depois"]


@pytest.mark.parametrize("comeco", ["=", "+", "-", "@", "\t", "\r"], ids=["=", "+", "-", "@", "TAB", "CR"])
def test_formula_vira_texto(abrir, caminho, comeco):
    """Uma célula que a planilha executaria ganha um apóstrofo, em qualquer coluna de texto."""
    perigo = f'{comeco}cmd,"x"'
    registro = abrir()
    registro.ouvir(mensagem(perigo, de=perigo, para=perigo, departamento=perigo))
    registro.encerrar(PRAZO)
    assert ler(caminho)[1][2:] == [f"'{perigo}", "mensagem", f"'{perigo}", f"'{perigo}", f"'{perigo}"]


def test_substituto_solto(abrir, caminho):
    """O que não cabe em UTF-8 é trocado, e o registro continua."""
    registro = abrir()
    registro.ouvir(mensagem("a\ud800b"))
    registro.ouvir(mensagem("c"))
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["a?b", "c"]


def test_trinta_mil_mensagens(abrir, caminho):
    """Trinta mil mensagens, ouvidas enquanto se grava, ficam no arquivo uma vez cada uma e na ordem."""
    registro = abrir()
    for inicio in range(0, 30_000, 2):
        registro.ouvir(mensagem(str(inicio), str(inicio + 1)))
    registro.encerrar(PRAZO)
    assert textos(caminho) == [str(numero) for numero in range(30_000)]


def test_linha_chega_sem_encerrar(abrir, caminho):
    """A linha está no arquivo pouco depois de ouvida, com o registro ainda aberto."""
    registro = abrir(pedaco=2**20)
    registro.ouvir(mensagem("Olá!"))
    assert registro.arquivo.gravou.acquire(timeout=PRAZO)
    assert textos(caminho) == ["Olá!"]


def test_intervalo_de_gravacao():
    """A thread grava com folga dentro do segundo prometido, contando uma nova tentativa."""
    assert 2 * modulo.GRAVAR_A_CADA <= 0.5


# --- O arquivo que já existe ----------------------------------------------------------------------


@pytest.mark.parametrize("tamanho", range(len(modulo.CABECALHO) + 1))
def test_cabecalho_partido_e_completado(abrir, caminho, tamanho):
    """Um arquivo vazio, ou com um pedaço do cabeçalho, fica com um cabeçalho só."""
    caminho.write_bytes(modulo.CABECALHO[:tamanho])
    registro = abrir()
    registro.ouvir(mensagem("Olá!"))
    registro.encerrar(PRAZO)
    assert caminho.read_bytes().startswith(modulo.CABECALHO)
    assert textos(caminho) == ["Olá!"]


def test_acrescenta(abrir, caminho):
    """O segundo servidor acrescenta ao que o primeiro deixou, sem outro cabeçalho."""
    antes = b""
    for texto in "primeiro", "segundo":
        registro = abrir()
        registro.ouvir(mensagem(texto))
        registro.encerrar(PRAZO)
        assert caminho.read_bytes().startswith(antes)
        antes = caminho.read_bytes()
    assert textos(caminho) == ["primeiro", "segundo"]


@pytest.mark.parametrize(
    "ultimo",
    ['ela: "não, ' + FAMILIA + ' é"\n"sim"', "ação sem aspas", '=1,"\u20ac"'],
    ids=["aspas, quebra e emoji", "sem aspas", "fórmula"],
)
def test_corte_em_qualquer_byte(abrir, caminho, ultimo):
    """Onde quer que o servidor morra na última linha, as de antes e as de depois ficam intactas."""
    registro = abrir()
    registro.ouvir(mensagem('a, "b"', "segunda"))
    registro.encerrar(PRAZO)
    comeco, inteiras = caminho.read_bytes(), ler(caminho)
    registro = abrir()
    registro.ouvir(mensagem(ultimo))
    registro.encerrar(PRAZO)
    tudo, partida = caminho.read_bytes(), ler(caminho)[-1]
    for corte in range(len(comeco), len(tudo) + 1):
        caminho.write_bytes(tudo[:corte])
        registro = abrir()
        registro.ouvir(mensagem("depois", "do corte"))
        registro.encerrar(PRAZO)
        linhas = ler(caminho)
        assert linhas[:3] == inteiras
        assert [linha[6:] for linha in linhas[-2:]] == [["depois"], ["do corte"]]
        resto = linhas[3:-2]
        assert len(resto) == (corte > len(comeco))
        for celula, completa in zip(sum(resto, []), partida):
            assert completa.startswith(celula)


@pytest.mark.parametrize(
    ("sobra", "fica"),
    [(FAMILIA.encode()[:3], b""), (b"xm", b"xm")],
    ids=["um caractere partido", "o que parece um cabeçalho"],
)
def test_fim_entre_dois_blocos(abrir, caminho, sobra, fica):
    """O fim do arquivo é visto por inteiro, mesmo quando a leitura o parte em dois blocos."""
    linha = b'm,c,,mensagem,Yuri,Ana,"'
    enchimento = (b"x" * 1023 + b"\n") * 1023
    antes = (modulo.CABECALHO + enchimento).ljust(2**20 - len(linha) - 1, b"\n") + linha
    caminho.write_bytes(antes + sobra)
    registro = abrir()
    registro.ouvir(mensagem("depois"))
    registro.encerrar(PRAZO)
    assert caminho.read_bytes().startswith(antes + fica + b'"\n')
    assert [celulas[6] for celulas in ler(caminho)[1:] if len(celulas) == 7] == [fica.decode(), "depois"]


@so_no_posix
def test_so_o_dono_le(abrir, caminho):
    """O arquivo criado é só do dono, mesmo com uma `umask` que não tira nada."""
    antes = os.umask(0)
    try:
        abrir()
    finally:
        os.umask(antes)
    assert caminho.stat().st_mode & 0o777 == 0o600


@so_no_posix
def test_permissoes_do_arquivo_existente_ficam(abrir, caminho):
    """As permissões que o dono escolheu para um arquivo que já existe não mudam."""
    caminho.touch()
    caminho.chmod(0o640)
    abrir()
    assert caminho.stat().st_mode & 0o777 == 0o640


# --- O arquivo negado -----------------------------------------------------------------------------


@so_no_posix
@pytest.mark.parametrize(
    ("caminho", "motivo"),
    [(".", "é uma pasta"), ("nao/existe.csv", "a pasta não existe"), (f"{__file__}/x.csv", "a pasta não existe")],
    ids=["uma pasta", "numa pasta que não existe", "numa pasta que é arquivo"],
)
def test_arquivo_negado(caminho, motivo):
    """Um arquivo que não se pode abrir é um `OSError`, com o motivo em português."""
    with pytest.raises(OSError) as erro:
        modulo.Registro(caminho)
    assert modulo.motivo(erro.value) == motivo


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="precisa de /dev/full")
def test_disco_cheio_ao_abrir():
    """Um arquivo em que nem o cabeçalho cabe é um `OSError` ao abrir."""
    with pytest.raises(OSError) as erro:
        modulo.Registro("/dev/full")
    assert modulo.motivo(erro.value) == "disco cheio"


@pytest.mark.parametrize(
    ("numero", "motivo"),
    [
        (errno.ENOSPC, "disco cheio"),
        (errno.EFBIG, "o arquivo chegou ao tamanho máximo"),
        (errno.EACCES, "sem permissão"),
        (errno.EPERM, "sem permissão"),
        (errno.EIO, "defeito no disco"),
        (errno.EROFS, "o disco é só para leitura"),
        (errno.EPIPE, os.strerror(errno.EPIPE)),
    ],
    ids=["disco cheio", "grande demais", "negado", "não permitido", "defeito", "só leitura", "outro"],
)
def test_motivo(numero, motivo):
    """Os erros comuns têm nome em português; os outros, o do sistema."""
    assert modulo.motivo(OSError(numero, os.strerror(numero))) == motivo


# --- O disco que falha no meio --------------------------------------------------------------------


@pytest.mark.parametrize("pedaco", [1, 7, 64])
def test_gravacao_parcial(abrir, caminho, pedaco):
    """Um disco que grava aos pedaços não parte nem repete linha nenhuma."""
    registro = abrir(pedaco=pedaco)
    for numero in range(20):
        registro.ouvir(mensagem(f'"{numero}", é'))
    registro.encerrar(PRAZO)
    assert textos(caminho) == [f'"{numero}", é' for numero in range(20)]


def test_lotes_limitados(abrir, caminho, monkeypatch):
    """Depois de o disco ficar parado, o que se acumulou é gravado em lotes: assim se vê que ele anda."""
    monkeypatch.setattr(modulo, "LOTE", 1000)
    registro = abrir(parado=True)
    for numero in range(100):
        registro.ouvir(mensagem(str(numero)))
    registro.arquivo.livre.set()
    registro.encerrar(PRAZO)
    assert max(registro.arquivo.pedidos) < 1200
    assert textos(caminho) == [str(numero) for numero in range(100)]


def test_disco_cheio_no_meio(abrir, caminho, dito):
    """Com o disco cheio no meio de uma linha, o registro o diz uma vez, e depois continua de onde parou."""
    registro = abrir(pedaco=50, erros=[None, errno.ENOSPC, errno.ENOSPC, None, errno.ENOSPC])
    for numero in range(20):
        registro.ouvir(mensagem(str(numero)))
    registro.encerrar(PRAZO)
    assert textos(caminho) == [str(numero) for numero in range(20)]
    assert dito.mensagens == [
        f"Não foi possível gravar em {caminho}: disco cheio. As conversas continuam; o registro tenta de novo.",
        f"O registro voltou a gravar em {caminho}.",
    ]


def test_cada_falha_e_dita(abrir, caminho, dito):
    """Uma falha depois de o disco ter voltado é outra, e é dita também."""
    registro = abrir(erros=[errno.ENOSPC, None, errno.EIO])
    registro.ouvir(mensagem("a"))
    dito.espera(2)
    registro.ouvir(mensagem("b"))
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["a", "b"]
    cheio, voltou, defeito, voltou_de_novo = dito.mensagens
    assert "disco cheio" in cheio and "defeito no disco" in defeito
    assert voltou == voltou_de_novo == f"O registro voltou a gravar em {caminho}."


PROGRAMA = """
import logging, resource, sys, threading

import registro
from filas import Acontecimento, Conversa

class Espia(logging.Handler):
    def emit(self, linha):
        print(linha.getMessage(), flush=True)
        falhou.set()

falhou = threading.Event()
registro.GRAVAR_A_CADA = 0.001
registro.log.addHandler(Espia())
registro.log.setLevel(logging.INFO)
aberto = registro.Registro(sys.argv[1])
_, maximo = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, maximo))
aberto.iniciar()
for numero in range(100):
    aberto.ouvir(Acontecimento(Conversa(1, "Yuri", "Ana", "", 0.0), "mensagem", "Yuri", "Ana", (str(numero),)))
assert falhou.wait(10)
print(aberto.arquivo.tell(), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (maximo, maximo))
aberto.encerrar(10)
"""


@so_no_posix
def test_limite_de_verdade(caminho):
    """Com um limite de verdade do sistema, a linha parada no meio é completada quando ele acaba."""
    ambiente = os.environ | {"PYTHONPATH": str(Path(modulo.__file__).parent), "PYTHONIOENCODING": "utf-8"}
    programa = subprocess.run(
        [sys.executable, "-c", PROGRAMA, str(caminho)], env=ambiente, capture_output=True, timeout=PRAZO, check=True
    )
    assert programa.stdout.decode().splitlines() == [
        f"Não foi possível gravar em {caminho}: o arquivo chegou ao tamanho máximo. "
        "As conversas continuam; o registro tenta de novo.",
        "1000",
        f"O registro voltou a gravar em {caminho}.",
    ]
    assert textos(caminho) == [str(numero) for numero in range(100)]


# --- O disco parado -------------------------------------------------------------------------------


def parar(registro: modulo.Registro) -> None:
    """Deixa a thread do registro presa no disco, com a primeira linha."""
    registro.ouvir(mensagem("presa"))
    assert registro.arquivo.procurado.wait(PRAZO)


def test_descarte_contado_e_dito(abrir, caminho, monkeypatch, dito):
    """Com o disco parado, o que não cabe na espera é descartado, e `conferir` diz quantas linhas, uma vez."""
    monkeypatch.setattr(modulo, "MAXIMO_A_ESPERA", 5 * modulo._memoria(mensagem("00", "01")))
    registro = abrir(parado=True)
    parar(registro)
    registro.conferir()
    for numero in range(0, 12, 2):
        registro.ouvir(mensagem(f"{numero:02d}", f"{numero + 1:02d}"))
    registro.conferir()
    registro.conferir()
    registro.ouvir(mensagem("12", "13", "14"))
    registro.conferir()
    comeco = f"A espera para gravar em {caminho} está cheia. Linhas descartadas:"
    assert dito.mensagens == [f"{comeco} 2.", f"{comeco} 3."]
    registro.arquivo.livre.set()
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["presa", *(f"{numero:02d}" for numero in range(10))]


def test_depois_do_descarte_volta_a_caber(abrir, caminho, monkeypatch):
    """Quando o disco anda, a espera esvazia e cabem linhas de novo."""
    monkeypatch.setattr(modulo, "MAXIMO_A_ESPERA", 1000)
    registro = abrir(parado=True)
    parar(registro)
    for texto in "a", "b", "descartada":
        registro.ouvir(mensagem(texto))
    registro.arquivo.livre.set()
    for _ in range(2):  # a presa, e depois o lote das que couberam
        assert registro.arquivo.gravou.acquire(timeout=PRAZO)
    registro.ouvir(mensagem("c"))
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["presa", "a", "b", "c"]


@pytest.mark.parametrize("preparando", [False, True], ids=["como-chegam", "ja-em-csv"])
def test_memoria_limitada(abrir, monkeypatch, preparando):
    """O limite é de memória de verdade: mensagens de um caractere, cada uma de uma conversa, cabem nele."""
    assert modulo.MAXIMO_A_ESPERA == 64 * 2**20
    monkeypatch.setattr(modulo, "MAXIMO_A_ESPERA", 2**20)
    registro = abrir(parado=True)
    parar(registro)
    tracemalloc.start()
    try:
        for numero in range(10_000):
            nomes = {"de": f"Yuri {numero}", "para": f"Ana {numero}"}
            registro.ouvir(Acontecimento(conversa(numero), "mensagem", textos=[chr(1000 + numero)], **nomes))
            if preparando:
                registro.preparar()
        ocupada, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2**19 < ocupada < 1.5 * 2**20


# --- Quem falou prepara a sua linha ---------------------------------------------------------------


def test_preparar_nao_muda_a_ordem(abrir, caminho):
    """A ordem do arquivo é a de quem ouviu, e não a de quem preparou primeiro."""
    registro = abrir(parado=True)
    parar(registro)
    de_outra = threading.Thread(target=registro.ouvir, args=[mensagem("a", "b")])
    de_outra.start()
    de_outra.join(PRAZO)
    registro.ouvir(mensagem("c"))
    registro.preparar()
    registro.ouvir(mensagem("d"))
    assert [type(pendente.conteudo) for pendente in registro._espera] == [Acontecimento, bytes, Acontecimento]
    registro.arquivo.livre.set()
    registro.encerrar(PRAZO)
    registro.preparar()  # o que já foi gravado não volta
    assert textos(caminho) == ["presa", "a", "b", "c", "d"]


# --- O fim ----------------------------------------------------------------------------------------


def test_encerrar_com_o_disco_parado(abrir, caminho, dito):
    """Com o disco parado, encerrar desiste e diz quantas linhas ficaram por gravar."""
    registro = abrir(parado=True)
    parar(registro)
    registro.ouvir(mensagem("a", "b"))
    registro.encerrar(paciencia=0.01)
    assert dito.mensagens == [f"O registro em {caminho} ficou incompleto. Linhas por gravar: 3."]


def test_encerrar_com_o_disco_cheio(abrir, caminho, dito):
    """Com o disco cheio até o fim, encerrar desiste, e a conta inclui a linha que ficou pela metade."""
    registro = abrir(pedaco=100, erros=[None, *[errno.ENOSPC] * 100_000])
    registro.ouvir(mensagem("x" * 50, "b", "c"))
    dito.espera(1)  # que o disco está cheio
    registro.encerrar(paciencia=0.01)
    assert dito.mensagens[1:] == [f"O registro em {caminho} ficou incompleto. Linhas por gravar: 3."]


def test_encerrar_diz_as_ultimas_descartadas(abrir, monkeypatch, caminho, dito):
    """As linhas descartadas desde a última conferência são ditas ao encerrar."""
    monkeypatch.setattr(modulo, "MAXIMO_A_ESPERA", 0)
    registro = abrir()
    registro.ouvir(mensagem("a", "b"))
    registro.encerrar(PRAZO)
    assert dito.mensagens == [f"A espera para gravar em {caminho} está cheia. Linhas descartadas: 2."]


@pytest.mark.parametrize("pedaco", [40, 1000], ids=["linhas aos pedaços", "linhas inteiras"])
def test_encerrar_espera_enquanto_ha_progresso(abrir, caminho, monkeypatch, dito, pedaco):
    """Um disco lento, mas que anda, é esperado até o fim: a paciência conta do último progresso."""
    monkeypatch.setattr(modulo, "LOTE", 1)  # cada linha é um lote, e todas têm o mesmo tamanho
    esperados = [str(numero) for numero in range(10, 30)]
    registro = abrir(disco=DiscoPassoAPasso, pedaco=pedaco)
    for texto in esperados:
        registro.ouvir(mensagem(texto))
    assert registro.arquivo.a_espera.acquire(timeout=PRAZO)
    with monkeypatch.context() as troca:
        troca.setattr(registro._thread, "join", registro.arquivo.passo)  # a paciência acaba a cada pedaço
        registro.encerrar(paciencia=0.0)
    assert textos(caminho) == esperados
    assert dito.mensagens == []


def test_encerrar_duas_vezes(abrir, caminho, dito):
    """Encerrar de novo não faz nada."""
    registro = abrir()
    registro.ouvir(mensagem("a"))
    registro.encerrar(PRAZO)
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["a"]
    assert dito.mensagens == []


def test_erro_ao_fechar(abrir, caminho, monkeypatch, dito):
    """O disco de rede que só ao fechar diz que estava cheio não é ignorado."""
    registro = abrir(pedaco=100)
    fechar = registro.arquivo.close

    def fechar_e_falhar() -> None:
        fechar()
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(registro.arquivo, "close", fechar_e_falhar)
    registro.encerrar(PRAZO)
    assert dito.mensagens == [f"Pode faltar o fim de {caminho}: cota de disco esgotada."]
