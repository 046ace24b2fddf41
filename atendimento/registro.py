"""O registro das conversas: um CSV a que o servidor acrescenta uma linha para cada mensagem entregue.

É o `Ouvinte` das filas, e não as conhece além disso. O caminho de uma linha é

    ouvir (a thread que falou, com a trava na mão)  ->  a espera, na memória  ->  thread "registro"  ->  arquivo

e por isso quem conversa nunca espera pelo disco, nem quando ele para ou enche. O que se ouve fica na
espera como veio; pôr em CSV é trabalho da thread que grava, um lote por vez.
"""

import codecs
import contextlib
import csv
import errno
import functools
import io
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from atendimento import maquina
from atendimento.filas import Conversa

log = logging.getLogger("fila")
_NO_LOG = {"marca": "REGISTRO"}

CABECALHO = b"momento,conversa,departamento,evento,de,para,texto\n"

MAXIMO_NA_ESPERA = 64 * 1024 * 1024
"""Bytes do que falta gravar: horas de conversa de uma equipe. Só um disco parado, ou uma enxurrada, os alcança."""

BYTES_POR_PENDENTE = 350
"""O que um pendente ocupa além dos textos, ainda que só ele guarde a conversa e os nomes."""

GRAVAR_A_CADA = 0.25
"""Segundos. Ninguém acorda a thread: uma troca de thread por mensagem custaria mais do que gravá-la."""

LOTE = 1024 * 1024
"""Bytes da espera gravados de uma vez: poucas chamadas ao sistema, e um disco lento ainda mostra progresso."""

PACIENCIA = 2.0
"""Segundos sem gravar nada, ao encerrar, em que se desiste do que falta."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Começos de célula que uma planilha executaria."""

_COMECO_DE_FORMULA = re.compile(rf"(?:\A|(?<=[;\t]))(?=[{re.escape(''.join(FORMULAS))}])")

MOTIVOS = {
    "ENOSPC": "disco cheio",
    "EDQUOT": "cota de disco esgotada",
    "EFBIG": "o arquivo chegou ao tamanho máximo",
    "EACCES": "sem permissão",
    "EPERM": "sem permissão",
    "EROFS": "o disco é só para leitura",
    "EIO": "defeito no disco",
    "EISDIR": "é uma pasta",
    "ENOENT": "a pasta não existe",
    "ENOTDIR": "a pasta não existe",
    "ENAMETOOLONG": "o nome é comprido demais",
    "EMFILE": "faltam descritores",
    "ENFILE": "faltam descritores",
}
"""Pelo nome, e não pelo número: nem todo sistema tem todos."""

NAO_E_UM_REGISTRO = "não é um registro, ou uma planilha o salvou (a primeira linha não é o cabeçalho)"


@dataclass(slots=True)
class _Pendente:
    """O que se ouviu e ainda não foi gravado."""

    conversa: Conversa
    evento: str  # "inicio", "mensagem" ou "fim"
    de: str
    para: str
    textos: Sequence[str]
    momento: float = field(default_factory=time.time)  # segundos desde 1970

    def memoria(self) -> int:
        """Os bytes que ocupa."""
        return BYTES_POR_PENDENTE + sum(map(sys.getsizeof, self.textos))


class Registro:
    """O arquivo de registro e a thread que o grava.

    Uma ordem só: `iniciar`, os `ouvir` e `conferir` que houver, `encerrar`. A memória é limitada a
    `MAXIMO_NA_ESPERA`: o que passar disso é descartado, e o log diz quantas linhas.
    """

    def __init__(self, caminho: str) -> None:
        """Abre ou cria o arquivo, e o deixa pronto para receber linhas; `OSError` se não dá."""
        self.caminho = caminho
        self.execucao = f"{datetime.now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"  # única, e não parece fórmula
        # Sem outra trava: o que muda é escrito por uma thread só, e as outras apenas o leem. Escreve quem
        # ouve, e é um por vez:
        self._entraram = 0  # bytes, desde o começo
        self._descartadas = 0  # linhas, desde o começo
        # Escreve a thread do registro:
        self._sairam = 0  # bytes, desde o começo: a diferença é o que espera
        self._lote = b""  # as linhas que está gravando
        self._gravados = 0  # bytes do lote que já estão no arquivo
        self._falhou = False  # a última tentativa
        # Escreve quem chama `conferir`:
        self._ditas = 0  # as descartadas que já estão no log
        # Escrevem as duas: quem ouve põe numa ponta, a thread tira da outra, e cada operação é atômica.
        self._espera: deque[_Pendente] = deque()
        self._acabar = threading.Event()
        self._desistir = threading.Event()
        self._thread = threading.Thread(target=self._rodar, name="registro", daemon=True)
        self._abrir()

    def iniciar(self) -> None:
        """Põe a thread para rodar."""
        self._thread.start()

    def ouvir(self, conversa: Conversa, evento: str, de: str, para: str, textos: Sequence[str]) -> None:
        """Guarda o que houve até que a thread o grave. Os textos vêm sem controles, e já não mudam.

        Só mexe em memória e nunca bloqueia. Exige a trava das filas: um de cada vez, na ordem dos fatos.
        """
        pendente = _Pendente(conversa, evento, de, para, textos)
        entraram = self._entraram + pendente.memoria()
        if entraram - self._sairam > MAXIMO_NA_ESPERA:
            self._descartadas += len(textos)
            return
        self._espera.append(pendente)
        self._entraram = entraram

    def conferir(self) -> None:
        """Diz no log quantas linhas foram descartadas desde a última vez.

        É de outra thread que se chama: a do registro pode estar presa no disco, e não poder dizê-lo.
        """
        descartadas = self._descartadas
        if descartadas > self._ditas:
            novas, self._ditas = descartadas - self._ditas, descartadas
            texto = "A espera para gravar em %s está cheia. Linhas descartadas: %d."
            log.error(texto, self.caminho, novas, extra=_NO_LOG)

    def encerrar(self, paciencia: float = PACIENCIA) -> None:
        """Grava o que falta, demore o que demorar; desiste se o disco passar `paciencia` segundos sem progresso.

        Chama-se quando ninguém mais tem o que contar. O que não foi gravado é dito no log.
        """
        self._acabar.set()
        visto = None
        while self._thread.is_alive() and visto != self._progresso():
            visto = self._progresso()
            self._thread.join(paciencia)
        self._desistir.set()
        self.conferir()
        faltam = self._lote.count(b"\n", self._gravados) + sum(len(pendente.textos) for pendente in self._espera.copy())
        if faltam:
            log.error("O registro em %s ficou incompleto. Linhas que faltam: %d.", self.caminho, faltam, extra=_NO_LOG)

    def _progresso(self) -> tuple[int, int]:
        """Um valor que muda a cada byte gravado."""
        return self._sairam, self._gravados

    # A thread do registro.

    def _rodar(self) -> None:
        while not self._desistir.is_set():
            with contextlib.suppress(MemoryError):  # faltou até para dizer no log que falta
                acabando = self._acabar.wait(GRAVAR_A_CADA)  # antes de esvaziar: então já entrou tudo
                if not self._esvaziar():
                    self._desistir.wait(GRAVAR_A_CADA)
                elif acabando:
                    break
        try:
            self.arquivo.close()
        except OSError as erro:  # há discos de rede que só aqui dizem que estavam cheios
            log.error("Pode faltar o fim de %s: %s.", self.caminho, motivo(erro), extra=_NO_LOG)

    def _esvaziar(self) -> bool:
        """Grava tudo o que espera; `False` se não deu. Diz no log quando falha e quando volta."""
        try:
            while self._lote or self._espera:
                if not self._lote:
                    self._montar_lote()
                self._gravar_lote()
        except Exception as erro:  # também falta de memória: esta thread não pode morrer
            if not self._falhou:  # uma vez, e não a cada tentativa
                texto = "Não foi possível gravar em %s: %s. As conversas continuam; o registro tenta de novo."
                log.error(texto, self.caminho, motivo(erro), extra=_NO_LOG)
            self._falhou = True
            return False
        if self._falhou:
            log.info("O registro voltou a gravar em %s.", self.caminho, extra=_NO_LOG)
        self._falhou = False
        return True

    def _montar_lote(self) -> None:
        """Tira da espera, em que há algo, um lote, e o põe em CSV. Se falta memória, a espera fica como estava."""
        linhas = io.StringIO()
        escritor = csv.writer(linhas, lineterminator="\n")
        quantos, memoria = 0, 0
        while quantos < len(self._espera) and memoria < LOTE:
            ultimo = self._espera[quantos]
            escritor.writerows(self._linhas(ultimo))
            memoria += ultimo.memoria()
            quantos += 1
        lote, sairam = linhas.getvalue().encode("utf-8", "replace"), self._sairam + memoria
        # Daqui até o fim nada pede memória: cada pendente está na espera ou no lote, e num só.
        self._lote = lote
        self._sairam = sairam
        while self._espera.popleft() is not ultimo:
            pass

    def _linhas(self, pendente: _Pendente) -> list[tuple[str, ...]]:
        """As linhas da planilha, uma para cada texto, na ordem das colunas do cabeçalho."""
        iguais = (
            _momento(pendente.momento),
            f"{self.execucao}-{pendente.conversa.numero}",
            _celula(pendente.conversa.departamento),
            pendente.evento,
            _celula(pendente.de),
            _celula(pendente.para),
        )
        return [(*iguais, _celula(texto)) for texto in pendente.textos]

    def _gravar_lote(self) -> None:
        """Grava o lote. Num erro, o que já está no arquivo está contado: a próxima tentativa continua dali."""
        while self._gravados < len(self._lote):
            self._acompanhar()
            gravados = self.arquivo.write(memoryview(self._lote)[self._gravados :])  # pode ser só uma parte
            self._gravados += gravados
            tamanho = os.fstat(self.arquivo.fileno()).st_size
            if tamanho == gravados:  # esvaziaram-no depois de `_acompanhar`: falta o cabeçalho antes destas linhas
                self.arquivo.truncate(0)
                self._gravados -= gravados
            self._tamanho = max(tamanho, self._tamanho)
        self._lote, self._gravados = b"", 0

    def _acompanhar(self) -> None:
        """Se o arquivo aberto já não é o do caminho, ou encolheu, passa para o que está lá, ou para um novo."""
        aberto = os.fstat(self.arquivo.fileno())
        with contextlib.suppress(FileNotFoundError):
            if maquina.mesmo_arquivo(os.stat(self.caminho), aberto) and aberto.st_size >= self._tamanho:
                return
        antigo = self.arquivo
        self._abrir()
        texto = "%s foi movido, apagado, trocado ou truncado. O registro continua num arquivo novo."
        log.warning(texto, self.caminho, extra=_NO_LOG)
        antigo.close()

    def _abrir(self) -> None:
        """Abre o arquivo, ou o cria, e o deixa pronto para receber linhas inteiras; `OSError` se não dá."""
        arquivo = open(self.caminho, "a+b", buffering=0, opener=maquina.so_para_o_dono)
        try:
            conserto = _consertar(arquivo)
            while conserto:
                conserto = conserto[arquivo.write(conserto) :]
            tamanho = os.fstat(arquivo.fileno()).st_size
            gravados = self._lote.rfind(b"\n", 0, self._gravados) + 1  # a linha partida, no outro, é aqui inteira
        except Exception:
            arquivo.close()
            raise
        self.arquivo = arquivo
        self._tamanho = tamanho  # bytes; menos que isso, e o truncaram
        self._gravados = gravados


def motivo(erro: Exception) -> str:
    """O erro em português, para o meio de uma frase; o que não é do sistema, como é."""
    if not isinstance(erro, OSError):
        return repr(erro)
    return MOTIVOS.get(errno.errorcode.get(erro.errno, ""), erro.strerror or str(erro))


def _consertar(arquivo: io.FileIO) -> bytes:
    """Conserta o que um servidor morto deixou pela metade. Devolve o que falta gravar antes da primeira linha nova.

    É o cabeçalho (ou o resto dele), ou as aspas e a quebra que fecham a última linha. Aspas em número
    ímpar são aspas abertas: dentro delas, as do texto vêm sempre aos pares. Levanta `OSError`, e não
    toca no arquivo, se o que há nele não é um registro.
    """
    tamanho = os.fstat(arquivo.fileno()).st_size
    if not tamanho:  # vazio; um dispositivo ou um pipe também não tem tamanho, e não se relê
        return CABECALHO
    arquivo.seek(0)
    fim = arquivo.read(len(CABECALHO))
    if not CABECALHO.startswith(fim):
        raise OSError(NAO_E_UM_REGISTRO)
    if falta := CABECALHO[len(fim) :]:
        return falta
    aspas = 0
    while bloco := arquivo.read(1024 * 1024):
        fim = (fim + bloco)[-4:]  # bytes: o maior caractere
        aspas += bloco.count(b'"')
    if partido := _caractere_partido(fim):
        arquivo.truncate(tamanho - partido)
    if aspas % 2:
        return b'"\n'
    return b"" if fim.endswith(b"\n") else b"\n"


def _caractere_partido(fim: bytes) -> int:
    """Quantos bytes de um caractere UTF-8 incompleto há no fim."""
    decodificador = codecs.getincrementaldecoder("utf-8")("ignore")
    decodificador.decode(fim)
    pendentes, _ = decodificador.getstate()
    return len(pendentes)


def _celula(texto: str) -> str:
    """O texto como vai para a planilha, que não tomará por uma fórmula nem ele, nem um pedaço seu.

    Há planilhas que separam células por `;` ou TAB: depois de cada um, é como se começasse outra.
    """
    # Procurar custa tanto quanto o resto da linha, e quase nunca há o que achar.
    if texto.startswith(FORMULAS) or ";" in texto or "\t" in texto:
        return _COMECO_DE_FORMULA.sub("'", texto)
    return texto


def _momento(instante: float) -> str:
    """`2026-11-24T09:03:42.123-03:00`: hora local, com milissegundos e fuso."""
    segundo, milissegundo = divmod(round(instante * 1000), 1000)
    inicio, fuso = _segundo(segundo)
    return f"{inicio}.{milissegundo:03d}{fuso}"


@functools.lru_cache(maxsize=1)
def _segundo(segundo: int) -> tuple[str, str]:
    """A data com a hora, e o fuso. Custam mais que o resto da linha, e são os mesmos por um segundo inteiro."""
    texto = datetime.fromtimestamp(segundo).astimezone().isoformat()
    return texto[:19], texto[19:]
