"""O registro das conversas: o que fica no arquivo, e o que acontece quando o disco não ajuda."""

import contextlib
import csv
import errno
import itertools
import logging
import os
import re
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from participante import PRAZO
from test_protocolo import FAMILIA, casos

from atendimento import registro as modulo
from atendimento.filas import Conversa

so_no_posix = pytest.mark.skipif(os.name != "posix", reason="usa fusos, permissões e rotação do POSIX")


class Disco:
    """O arquivo de um registro, num disco com defeito.

    Grava no máximo `pedaco` bytes de cada vez e, `parado`, só quando o soltam. Levanta cada erro de `erros`, na
    ordem, no lugar de uma gravação; `None` é uma que dá certo.
    """

    def __init__(self, arquivo, pedaco: int = 2**20, parado: bool = False, erros=()) -> None:
        self.arquivo = arquivo
        self.pedaco = pedaco
        self.erros = iter(erros)
        self.pedidos: list[int] = []  # os bytes de cada tentativa
        self.procurado = threading.Semaphore(0)  # uma vez por tentativa, e outra por se fechar
        self.licencas = threading.Semaphore(0)
        self.gravou = threading.Semaphore(0)  # uma vez por gravação
        if not parado:
            self.solta()

    def solta(self) -> None:
        """O disco parado volta a andar."""
        self.licencas.release(10_000)

    def write(self, dados: bytes) -> int:
        self.pedidos.append(len(dados))
        self.procurado.release()
        assert self.licencas.acquire(timeout=PRAZO)
        if erro := next(self.erros, None):
            raise OSError(erro, os.strerror(erro)) if isinstance(erro, int) else erro
        gravados = self.arquivo.write(dados[: self.pedaco])
        self.gravou.release()
        return gravados

    def fileno(self) -> int:
        return self.arquivo.fileno()

    def close(self) -> None:
        self.arquivo.close()
        self.procurado.release(2)


@pytest.fixture
def caminho(tmp_path) -> Path:
    return tmp_path / "conversas.csv"


@pytest.fixture
def abrir(caminho, monkeypatch):
    """Abre registros, com o disco que o teste pedir, e os encerra no fim."""
    monkeypatch.setattr(modulo, "GRAVAR_A_CADA", 0.001)
    abertos = []

    def abrir(**defeitos) -> modulo.Registro:
        registro = modulo.Registro(str(caminho))
        if defeitos:
            registro.arquivo = Disco(registro.arquivo, **defeitos)
        registro.iniciar()
        abertos.append(registro)
        return registro

    yield abrir
    for registro in abertos:
        if isinstance(registro.arquivo, Disco):
            registro.arquivo.solta()
        registro.encerrar(PRAZO)


class Escuta(logging.Handler):
    """O que o registro disse no log."""

    def __init__(self) -> None:
        super().__init__()
        self.frases: list[str] = []
        self.novas = threading.Semaphore(0)

    def emit(self, linha: logging.LogRecord) -> None:
        assert linha.marca == "REGISTRO"
        self.frases.append(linha.getMessage())
        self.novas.release()

    def espera(self, quantas: int) -> None:
        """Espera por mais `quantas` frases."""
        for _ in range(quantas):
            assert self.novas.acquire(timeout=PRAZO), f"só disse {self.frases}"


@pytest.fixture
def dito(caplog):
    escuta = Escuta()
    caplog.set_level(logging.INFO, "fila")
    modulo.log.addHandler(escuta)
    yield escuta
    modulo.log.removeHandler(escuta)


def ouvir(registro, *textos: str, evento="mensagem", de="Yuri", para="Ana", departamento="", numero=1) -> None:
    registro.ouvir(Conversa(numero, "Yuri", "Ana", departamento, 0.0), evento, de, para, textos)


def ler(caminho: Path) -> list[list[str]]:
    """As linhas do arquivo, que tem de ser UTF-8 e CSV do começo ao fim, sem o cabeçalho."""
    with open(caminho, encoding="utf-8", newline="") as arquivo:
        cabecalho, *linhas = csv.reader(arquivo, strict=True)
    assert ",".join(cabecalho) == "momento,conversa,departamento,evento,de,para,texto"
    return linhas


def textos(caminho: Path) -> list[str]:
    return [linha[6] for linha in ler(caminho)]


# --- O que fica no arquivo ------------------------------------------------------------------------


def test_conversa_inteira(abrir, caminho):
    """Uma linha para o início, cada mensagem e o fim, na ordem das colunas, com aspas só onde são precisas."""
    registro, antes = abrir(), time.time()
    ouvir(registro, "", evento="inicio", departamento="Vendas", numero=7)
    ouvir(registro, "Olá!", "sim, sim", "a\ud800b", departamento="Vendas", numero=7)
    ouvir(registro, "Servidor encerrado.", evento="fim", de="", para="", departamento="Vendas", numero=7)
    registro.encerrar(PRAZO)
    cabecalho, *linhas, sobra = caminho.read_bytes().split(b"\n")
    comecos, iguais, fins = zip(*(linha.decode().partition(f",{registro.execucao}-7,Vendas,") for linha in linhas))
    assert (cabecalho + b"\n", sobra, *set(iguais)) == (modulo.CABECALHO, b"", f",{registro.execucao}-7,Vendas,")
    mensagens = ("mensagem,Yuri,Ana,Olá!", 'mensagem,Yuri,Ana,"sim, sim"', "mensagem,Yuri,Ana,a?b")
    assert fins == ("inicio,Yuri,Ana,", *mensagens, "fim,,,Servidor encerrado.")
    for momento in map(datetime.fromisoformat, comecos):
        assert antes - 0.001 <= momento.timestamp() <= time.time() + 0.001


@casos(
    "instante, escrito",
    {
        "redondo": (1_795_000_000.0, "2026-11-18T08:06:40.000-03:00"),
        "zeros-a-esquerda": (1_795_000_000.0071, "2026-11-18T08:06:40.007-03:00"),
        "vira-o-segundo": (1_795_000_000.9997, "2026-11-18T08:06:41.000-03:00"),
    },
)
@so_no_posix
def test_momento(monkeypatch, instante, escrito):
    """O momento é ISO 8601, com milissegundos e o fuso do lugar do servidor."""
    with monkeypatch.context() as troca:
        troca.setenv("TZ", "<-03>3")
        time.tzset()
        modulo._segundo.cache_clear()
        assert modulo._momento(instante) == escrito
    time.tzset()
    modulo._segundo.cache_clear()


def test_duas_execucoes(abrir, caminho):
    """A segunda acrescenta ao que a primeira deixou, e a conversa de mesmo número tem outro identificador."""
    antes = b""
    for texto in "primeira", "segunda":
        registro = abrir()
        ouvir(registro, texto)
        ouvir(registro, texto)
        registro.encerrar(PRAZO)
        assert caminho.read_bytes().startswith(antes)
        antes = caminho.read_bytes()
    assert textos(caminho) == ["primeira"] * 2 + ["segunda"] * 2
    primeira, igual, segunda, outra_igual = [linha[1] for linha in ler(caminho)]
    assert primeira == igual != segunda == outra_igual
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}-1", primeira)


INTACTOS = ['diz "oi"', '"', '""', "a, b", "a\nb", 'fim\n"', " pontas ", "'", "ação", FAMILIA, "a=b", "a@", "x" * 5000]
FORMULAS = {f"{comeco}cmd,x": f"'{comeco}cmd,x" for comeco in "=+-@\t\r"}
FORMULAS |= {"a\t=b": "a\t'=b"}
FORMULAS |= {"oi;=1+1": "oi;'=1+1", "-;;@a; =b;": "'-;;'@a; =b;", "a\t+b;\t-": "a\t'+b;'\t'-", "a;b=c\td@": "a;b=c\td@"}


def test_texto_intacto(abrir, caminho):
    """O que se escreve em qualquer coluna de texto relê-se igual; o que a planilha executaria, com um '."""
    registro = abrir()
    lidos = {texto: texto for texto in INTACTOS} | FORMULAS
    for texto in lidos:
        ouvir(registro, texto, "vizinha", de=texto, para=texto, departamento=texto)
    registro.encerrar(PRAZO)
    esperado = [[texto, "mensagem", texto, texto, ultimo] for texto in lidos.values() for ultimo in (texto, "vizinha")]
    assert [linha[2:] for linha in ler(caminho)] == esperado


def test_trinta_mil_mensagens(abrir, caminho):
    """Trinta mil mensagens, ouvidas enquanto se grava, ficam no arquivo uma vez cada uma e na ordem."""
    registro = abrir()
    for numero in range(0, 30_000, 10):
        ouvir(registro, *map(str, range(numero, numero + 10)))
    registro.encerrar(PRAZO)
    assert textos(caminho) == [str(numero) for numero in range(30_000)]


def test_linha_chega_sem_encerrar(abrir, caminho):
    """A linha está no arquivo com o registro ainda aberto: gravou-a a thread que tem o nome dele."""
    registro = abrir(pedaco=2**20)
    assert "registro" in {thread.name for thread in threading.enumerate()}
    ouvir(registro, "Olá!")
    assert registro.arquivo.gravou.acquire(timeout=PRAZO)
    assert textos(caminho) == ["Olá!"]


@pytest.mark.demorado
def test_cinquenta_pares_despejam_de_uma_vez(abrir_servidor, caminho):
    """Cem conexões despejam, cada uma, as 2 000 linhas que o ritmo deixa adiantar: a thread sozinha grava todas."""
    registro = modulo.Registro(str(caminho))
    registro.iniciar()
    servidor, ditos = abrir_servidor(ouvinte=registro), [str(numero) for numero in range(2_000)]
    pares = [servidor.par(f"C{i}", f"A{i}") for i in range(50)]
    sentidos = pares + [(atendente, cliente) for cliente, atendente in pares]
    with ThreadPoolExecutor(2 * len(sentidos)) as threads:
        falas = [threads.submit(de.envia, *ditos) for de, _ in sentidos]
        falas += [threads.submit(para.le_ate, f"[{de.nome}]: 1999") for de, para in sentidos]
    assert not any(fala.exception() for fala in falas)
    registro.encerrar(PRAZO)
    assert sorted(linha[4:] for linha in ler(caminho) if linha[3] == "mensagem") == sorted(
        [de.nome, para.nome, dito] for de, para in sentidos for dito in ditos
    )


def test_intervalo_de_gravacao():
    """Duas tentativas cabem com folga no segundo que se promete entre a entrega e o arquivo."""
    assert 2 * modulo.GRAVAR_A_CADA <= 0.5


# --- O arquivo que já existe ----------------------------------------------------------------------


def test_cabecalho_partido_e_completado(abrir, caminho):
    """Um arquivo vazio, ou com um pedaço do cabeçalho, fica com um cabeçalho só."""
    for tamanho in range(len(modulo.CABECALHO) + 1):
        caminho.write_bytes(modulo.CABECALHO[:tamanho])
        registro = abrir()
        ouvir(registro, "Olá!")
        registro.encerrar(PRAZO)
        assert textos(caminho) == ["Olá!"]


@casos("ultimo", {"aspas": f'ela: "não, {FAMILIA} é"\n"sim"', "sem-aspas": "ação", "formula": '=1,"\u20ac"'})
def test_corte_em_qualquer_byte(abrir, caminho, ultimo):
    """Onde quer que o servidor morra na última linha, as de antes e as de depois ficam intactas."""
    for ditos in (['a, "b"', "segunda"], [ultimo]):
        comeco = caminho.read_bytes() if caminho.exists() else b""
        registro = abrir()
        ouvir(registro, *ditos)
        registro.encerrar(PRAZO)
    tudo, (*inteiras, partida) = caminho.read_bytes(), ler(caminho)
    for corte in range(len(comeco), len(tudo) + 1):
        caminho.write_bytes(tudo[:corte])
        registro = abrir()
        ouvir(registro, "depois", "do corte")
        registro.encerrar(PRAZO)
        linhas = ler(caminho)
        resto = linhas[2:-2]
        assert linhas[:2] == inteiras and len(resto) == (corte > len(comeco))
        assert [linha[6:] for linha in linhas[-2:]] == [["depois"], ["do corte"]]
        assert all(map(datetime.fromisoformat, (linha[0] for linha in linhas[-2:])))
        for celula, completa in zip(sum(resto, []), partida):
            assert completa.startswith(celula)


@casos("sobra, fica", {"caractere-partido": (FAMILIA.encode()[:3], b""), "parece-um-cabecalho": (b"xm", b"xm")})
def test_fim_entre_dois_blocos(abrir, caminho, sobra, fica):
    """O fim do arquivo é visto por inteiro, mesmo quando a leitura o parte em dois blocos."""
    linha = b'm,c,,mensagem,Yuri,Ana,"'
    enchimento = (b"x" * 1023 + b"\n") * 1023
    antes = (modulo.CABECALHO + enchimento).ljust(len(modulo.CABECALHO) + 2**20 - len(linha) - 1, b"\n") + linha
    caminho.write_bytes(antes + sobra)
    registro = abrir()
    ouvir(registro, "depois")
    registro.encerrar(PRAZO)
    assert caminho.read_bytes().startswith(antes + fica + b'"\n')
    assert [celulas[6] for celulas in ler(caminho) if len(celulas) == 7] == [fica.decode(), "depois"]


NAO_E_UM_REGISTRO = "não é um registro, ou uma planilha o salvou (a primeira linha não é o cabeçalho)"
NAO_SAO = {"outra-coisa": b"oi\n", "com-bom": b"\xef\xbb\xbf" + modulo.CABECALHO}
NAO_SAO |= {"com-ponto-e-virgula": modulo.CABECALHO.replace(b",", b";"), "com-crlf": modulo.CABECALHO[:-1] + b"\r\n"}


@casos("conteudo", NAO_SAO)
def test_o_que_nao_e_um_registro(caminho, conteudo):
    """Um arquivo que não começa pelo cabeçalho exato é recusado, e fica como estava."""
    caminho.write_bytes(conteudo)
    with pytest.raises(OSError, match=f"^{re.escape(NAO_E_UM_REGISTRO)}$"):
        modulo.Registro(str(caminho))
    assert caminho.read_bytes() == conteudo


@so_no_posix
def test_permissoes(abrir, caminho):
    """O arquivo criado é só do dono, mesmo com uma `umask` que não tira nada; as do que já existe não mudam."""
    umask = os.umask(0)
    for modo in (0o600, 0o640):
        abrir()
        assert caminho.stat().st_mode & 0o777 == modo
        caminho.chmod(0o640)
    os.umask(umask)


NEGADOS = {"pasta": (".", "é uma pasta"), "sem-pasta": ("nao/existe.csv", "a pasta não existe")}
NEGADOS |= {"arquivo-no-meio": (f"{__file__}/x.csv", "a pasta não existe"), "cheio": ("/dev/full", "disco cheio")}


@so_no_posix
@casos("caminho, motivo", NEGADOS)
def test_arquivo_negado(caminho, motivo):
    """Um arquivo que não se pode abrir, ou em que nem o cabeçalho cabe, é um `OSError`, com o motivo em português."""
    if caminho == "/dev/full" and not os.path.exists(caminho):
        pytest.skip("precisa de /dev/full")
    with pytest.raises(OSError) as erro:
        modulo.Registro(caminho)
    assert modulo.motivo(erro.value) == motivo


def test_motivos():
    """Os erros comuns têm nome em português; os outros, o do sistema, ou do Python."""
    erros = {"ENOSPC": "disco cheio", "EFBIG": "o arquivo chegou ao tamanho máximo", "EACCES": "sem permissão"}
    erros |= {"EPERM": "sem permissão", "EIO": "defeito no disco", "EROFS": "o disco é só para leitura"}
    erros |= {"EMFILE": "faltam descritores", "ENAMETOOLONG": "o nome é comprido demais"}
    erros |= {"EDQUOT": "cota de disco esgotada", "EPIPE": os.strerror(errno.EPIPE)}
    deste_sistema = {nome: numero for numero, nome in errno.errorcode.items()}  # no Windows, a cota é só a da rede
    numeros = {deste_sistema[nome]: texto for nome, texto in erros.items() if nome in deste_sistema}
    assert {numero: modulo.motivo(OSError(numero, os.strerror(numero))) for numero in numeros} == numeros
    assert modulo.motivo(OSError("sem número")) == "sem número" and modulo.motivo(MemoryError()) == "MemoryError()"


# --- O disco que falha no meio --------------------------------------------------------------------


def falha(caminho: Path, motivo: str) -> str:
    return f"Não foi possível gravar em {caminho}: {motivo}. As conversas continuam; o registro tenta de novo."


def voltou(caminho: Path) -> str:
    return f"O registro voltou a gravar em {caminho}."


@pytest.mark.parametrize("pedaco", [1, 50])
@casos("erro, motivo", {"cheio": (errno.ENOSPC, "disco cheio"), "sem-memoria": (MemoryError(), "MemoryError()")})
def test_falha_no_meio(abrir, caminho, dito, pedaco, erro, motivo):
    """O registro diz a falha uma vez, e depois continua do byte em que parou; a falha seguinte é outra, e é dita."""
    registro = abrir(pedaco=pedaco, parado=True, erros=[None, erro, erro, None, erro])
    for comeco, outro in ((0, errno.EIO), (10, None)):
        for numero in range(comeco, comeco + 10):
            ouvir(registro, f'"{numero}", é')
        registro.arquivo.solta()
        dito.espera(2)
        registro.arquivo.erros = iter([outro])
    registro.encerrar(PRAZO)
    assert textos(caminho) == [f'"{numero}", é' for numero in range(20)]
    segunda = falha(caminho, "defeito no disco")
    assert dito.frases == [falha(caminho, motivo), voltou(caminho), segunda, voltou(caminho)]


def test_falta_memoria_em_qualquer_ponto(caminho, dito):
    """Onde quer que um pedido de memória falhe, ao montar o lote ou ao gravá-lo, nenhuma linha falta nem se repete."""
    sistema = pytest.importorskip("_testcapi", reason="quem faz a memória faltar é o CPython")
    registro, ditos = modulo.Registro(str(caminho)), []
    disco = registro.arquivo
    registro.arquivo = SimpleNamespace(
        write=lambda dados: disco.write(dados[:50]), fileno=disco.fileno, close=disco.close
    )
    for pedido in range(400):  # passa de todos: nos últimos, nada falta
        ditos += [f"{pedido}, é", f"{pedido}, foi"]
        ouvir(registro, *ditos[-2:])
        with contextlib.suppress(MemoryError):  # faltou até para o dizer
            sistema.set_nomemory(pedido, pedido + 1)
            registro._esvaziar()
        sistema.remove_mem_hooks()
        assert registro._esvaziar()
    registro.arquivo.close()
    assert textos(caminho) == ditos and dito.frases.count(falha(caminho, "MemoryError()")) > 100


def test_a_falta_de_memoria_nao_leva_a_thread(abrir, caminho, monkeypatch):
    """O erro que escapa de uma gravação é só dela: a seguinte grava tudo."""
    esvaziar, faltam = modulo.Registro._esvaziar, [MemoryError()]

    def escassa(registro):
        if faltam:
            raise faltam.pop()
        return esvaziar(registro)

    monkeypatch.setattr(modulo.Registro, "_esvaziar", escassa)
    registro = abrir()
    ouvir(registro, "oi")
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["oi"] and not faltam


# --- O arquivo que muda de lugar ------------------------------------------------------------------

ROTACAO = "{} foi movido, apagado, trocado ou truncado. O registro continua num arquivo novo."


def esvaziar_ao_gravar(registro: modulo.Registro, _outro: Path) -> None:
    """O arquivo será esvaziado, uma vez, entre o registro o olhar e gravar nele."""
    acompanhar, quando = registro._acompanhar, iter([lambda: os.truncate(registro.caminho, 0)])
    registro._acompanhar = lambda: (acompanhar(), next(quando, lambda: None)())


@so_no_posix
@casos(
    "mexer, ja_havia",
    {
        "movido": (lambda registro, _: os.rename(registro.caminho, f"{registro.caminho}.1"), 0),
        "apagado": (lambda registro, _: os.unlink(registro.caminho), 0),
        "trocado-por-outro-registro": (lambda registro, outro: os.replace(outro, registro.caminho), 1),
        "esvaziado": (lambda registro, _: os.truncate(registro.caminho, 0), 0),
        "esvaziado-ao-gravar": (esvaziar_ao_gravar, 0),
        "truncado-no-meio": (lambda registro, _: os.truncate(registro.caminho, len(modulo.CABECALHO) + 9), 1),
    },
)
def test_rotacao(caminho, tmp_path, dito, mexer, ja_havia):
    """Quem mexe no arquivo com o servidor no ar tem no caminho, no lote seguinte, um registro inteiro; o log o diz."""
    registro, outro = modulo.Registro(str(caminho)), tmp_path / "outro.csv"
    outro.write_bytes(modulo.CABECALHO + b"m,c,,mensagem,Yuri,Ana,de outro\n")
    ouvir(registro, "antes")
    assert registro._esvaziar()
    mexer(registro, outro)
    ouvir(registro, "depois", "e depois")
    assert registro._esvaziar()
    registro.arquivo.close()
    assert [linha[-1] for linha in ler(caminho)[ja_havia:]] == ["depois", "e depois"]
    assert dito.frases == [ROTACAO.format(caminho)]


@so_no_posix
def test_rotacao_com_o_disco_cheio(caminho, dito):
    """A linha que ficou pela metade no arquivo movido está inteira no novo; o que não é um registro não se toca."""
    registro = modulo.Registro(str(caminho))
    registro.arquivo = Disco(registro.arquivo, pedaco=100, erros=[None, errno.ENOSPC])
    ouvir(registro, "a", "b", "c")
    assert not registro._esvaziar()
    movido = caminho.rename(f"{caminho}.1")
    caminho.write_bytes(b"oi")
    assert not registro._esvaziar() and caminho.read_bytes() == b"oi"
    caminho.unlink()
    assert registro._esvaziar()
    registro.arquivo.close()
    (momento, *_, primeiro), _pela_metade = ler(movido)
    assert primeiro == "a" and [linha[::6] for linha in ler(caminho)] == [[momento, "b"], [momento, "c"]]
    assert dito.frases == [falha(caminho, "disco cheio"), ROTACAO.format(caminho), voltou(caminho)]


# --- O disco parado -------------------------------------------------------------------------------


def parar(registro: modulo.Registro) -> None:
    """Deixa a thread do registro presa no disco, com a primeira linha."""
    ouvir(registro, "presa")
    assert registro.arquivo.procurado.acquire(timeout=PRAZO)


def descartadas(caminho: Path, quantas: int) -> str:
    return f"A espera para gravar em {caminho} está cheia. Linhas descartadas: {quantas}."


def test_descarte_contado_e_dito(abrir, caminho, monkeypatch, dito):
    """O que não cabe na espera é descartado, e `conferir` diz quantas linhas, uma vez; depois volta a caber."""
    memoria = modulo._Pendente(Conversa(1, "Yuri", "Ana", "", 0.0), "mensagem", "Yuri", "Ana", ("00", "01")).memoria()
    monkeypatch.setattr(modulo, "MAXIMO_NA_ESPERA", 5 * memoria)
    registro = abrir(parado=True)
    parar(registro)
    registro.conferir()
    for numero in range(0, 12, 2):
        ouvir(registro, f"{numero:02d}", f"{numero + 1:02d}")
    registro.conferir()
    registro.conferir()
    ouvir(registro, "12", "13", "14")
    registro.conferir()
    assert dito.frases == [descartadas(caminho, 2), descartadas(caminho, 3)]
    registro.arquivo.solta()
    for _ in range(2):  # a presa, e depois o lote das que couberam
        assert registro.arquivo.gravou.acquire(timeout=PRAZO)
    ouvir(registro, "volta", "a caber")
    registro.encerrar(PRAZO)
    assert textos(caminho) == ["presa", *(f"{numero:02d}" for numero in range(10)), "volta", "a caber"]


@casos("quantos, nome", {"uma-por-vez": (1, ""), "varias-de-uma-vez": (50, "x" * 30)})
def test_memoria_limitada(abrir, monkeypatch, quantos, nome):
    """O limite é de memória de verdade: mensagens de um caractere, cada uma de uma conversa, cabem nele."""
    assert modulo.MAXIMO_NA_ESPERA == 64 * 2**20
    monkeypatch.setattr(modulo, "MAXIMO_NA_ESPERA", 2**19)
    registro = abrir(parado=True)
    parar(registro)
    tracemalloc.start()
    for numero in range(1_500 // quantos + 300):  # em 32 bits cada texto ocupa menos
        nomes = {"de": f"Yuri {nome}{numero}", "para": f"Ana {nome}{numero}", "departamento": nome}
        ouvir(registro, *map(chr, range(1000, 1000 + quantos)), numero=numero, **nomes)
    ocupada, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert registro._descartadas and 2**18 < ocupada < 1.5 * 2**19


# --- O fim ----------------------------------------------------------------------------------------


@casos("cheio", {"disco-parado": False, "disco-cheio": True})
def test_encerrar_sem_poder_gravar(abrir, caminho, dito, cheio):
    """Encerrar desiste do disco, e diz quantas linhas faltam, com a que ficou pela metade."""
    if cheio:
        registro = abrir(pedaco=100, erros=itertools.chain([None], itertools.repeat(errno.ENOSPC)))
        ouvir(registro, "gravada", "a", "b", "c")
        dito.espera(1)
    else:
        registro = abrir(parado=True)
        parar(registro)
        ouvir(registro, "a", "b")
    registro.encerrar(paciencia=0.01)
    assert dito.frases.pop() == f"O registro em {caminho} ficou incompleto. Linhas que faltam: 3."
    assert dito.frases == ([falha(caminho, "disco cheio")] if cheio else [])


def test_encerrar_diz_as_ultimas_descartadas(abrir, monkeypatch, caminho, dito):
    """As linhas descartadas desde a última conferência são ditas ao encerrar; encerrar de novo não faz nada."""
    monkeypatch.setattr(modulo, "MAXIMO_NA_ESPERA", 0)
    registro = abrir()
    ouvir(registro, "a", "b")
    registro.encerrar(PRAZO)
    registro.encerrar(PRAZO)
    assert dito.frases == [descartadas(caminho, 2)] and textos(caminho) == []


@pytest.mark.parametrize("pedaco", [40, 1000], ids=["linhas-aos-pedacos", "linhas-inteiras"])
def test_encerrar_espera_enquanto_ha_progresso(abrir, caminho, monkeypatch, dito, pedaco):
    """Um disco lento, mas que anda, é esperado até o fim: a paciência conta do último progresso."""
    monkeypatch.setattr(modulo, "LOTE", 1)  # cada linha é um lote, e todas têm o mesmo tamanho
    registro, esperados = abrir(pedaco=pedaco, parado=True), [str(numero) for numero in range(10, 30)]

    def passo(_paciencia: float) -> None:
        """No lugar do `join`: deixa gravar um pedaço, e espera que a thread queira o próximo, ou feche."""
        registro.arquivo.licencas.release()
        assert registro.arquivo.procurado.acquire(timeout=PRAZO)

    for texto in esperados:
        ouvir(registro, texto)
    assert registro.arquivo.procurado.acquire(timeout=PRAZO)
    with monkeypatch.context() as troca:
        troca.setattr(registro._thread, "join", passo)  # a paciência acaba a cada pedaço
        registro.encerrar(paciencia=0.0)
    assert textos(caminho) == esperados and dito.frases == []
    assert all(map(datetime.fromisoformat, (linha[0] for linha in ler(caminho))))  # cada lote, desde o primeiro byte
    assert len(registro.arquivo.pedidos) >= len(esperados), "um lote tem o tamanho de LOTE"


def test_erro_ao_fechar(abrir, caminho, monkeypatch, dito):
    """O disco de rede que só ao fechar diz que estava cheio não é ignorado."""
    registro = abrir(pedaco=100)
    fechar = registro.arquivo.close

    def fechar_e_falhar() -> None:
        fechar()
        raise OSError(errno.ENOSPC, "cheio")

    monkeypatch.setattr(registro.arquivo, "close", fechar_e_falhar)
    registro.encerrar(PRAZO)
    assert dito.frases == [f"Pode faltar o fim de {caminho}: disco cheio."]
