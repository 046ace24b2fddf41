"""As filas sem rede: um exemplo para cada frase da especificação, e todas as ordens de um cenário pequeno."""

import contextlib
import itertools
import operator
import pickle
from collections import Counter, deque

import pytest

import filas as modulo
from filas import CAIXA_CHEIA, LONGA_DEMAIS, MAXIMO_GUARDADO, Efeito, Fase, Filas, Participante
from protocolo import Aviso, Conectado, Fila, Fim, Mensagem, Pergunta, SeparadorDeLinhas, Texto, Tipo

CLIENTE, ATENDENTE = Tipo.CLIENTE, Tipo.ATENDENTE

# =================================================================================================
# Exemplos.
# =================================================================================================


class Recepcao:
    """Filas de verdade, com participantes que só existem na memória."""

    def __init__(self):
        self.filas = Filas()

    def chegar(self, tipo, nome):
        """Alguém que se conecta e se identifica."""
        eu = Participante()
        assert self.filas.admitir(eu)
        self.filas.entrar(eu, tipo, nome)
        return eu

    def cliente(self, nome="Yuri"):
        return self.chegar(CLIENTE, nome)

    def atendente(self, nome="Ana"):
        return self.chegar(ATENDENTE, nome)

    def par(self):
        """Yuri e Ana no começo de uma conversa, com o `CONECTADO:` já lido."""
        yuri, ana = self.cliente(), self.atendente()
        self.leu(yuri), self.leu(ana)
        return yuri, ana

    def dizer(self, eu, *textos):
        return self.filas.repassar_chat(eu, Mensagem(eu.nome, textos))

    def leu(self, eu):
        """As linhas que `eu` tinha por ler."""
        return self.filas.recolher(eu)[0].decode().split("\n")[:-1]


@pytest.fixture
def recepcao():
    return Recepcao()


# --- Entrada ------------------------------------------------------------------------------------


def test_cliente_sabe_a_posicao_na_hora(recepcao):
    """Cada cliente que entra lê logo a sua posição; 1 é o próximo."""
    assert [recepcao.leu(recepcao.cliente(nome)) for nome in ("Yuri", "Bia", "Caio")] == [
        ["FILA:1"],
        ["FILA:2"],
        ["FILA:3"],
    ]


def test_atendente_sem_cliente_fica_a_espera(recepcao):
    """O atendente que não tem a quem atender lê `FILA:OK`."""
    assert recepcao.leu(recepcao.atendente()) == ["FILA:OK"]


def test_cliente_pareado_ao_entrar(recepcao):
    """O cliente que encontra um atendente livre lê `CONECTADO:` direto, e o atendente também."""
    ana = recepcao.atendente()
    yuri = recepcao.cliente()
    assert recepcao.leu(yuri) == ["CONECTADO:Ana"]
    assert recepcao.leu(ana) == ["FILA:OK", "CONECTADO:Yuri"]


def test_atendente_pareado_ao_entrar(recepcao):
    """O atendente que encontra um cliente esperando lê `CONECTADO:` direto, e o cliente também."""
    yuri = recepcao.cliente()
    ana = recepcao.atendente()
    assert recepcao.leu(ana) == ["CONECTADO:Yuri"]
    assert recepcao.leu(yuri) == ["FILA:1", "CONECTADO:Ana"]


def test_primeiro_cliente_com_atendente_ha_mais_tempo(recepcao):
    """Os pares seguem a ordem de chegada dos dois lados."""
    ana, bruno = recepcao.atendente("Ana"), recepcao.atendente("Bruno")
    recepcao.cliente("Yuri"), recepcao.cliente("Bia")
    assert recepcao.leu(ana) == ["FILA:OK", "CONECTADO:Yuri"]
    assert recepcao.leu(bruno) == ["FILA:OK", "CONECTADO:Bia"]


def test_nomes_repetidos_nao_se_confundem(recepcao):
    """Dois clientes de mesmo nome são duas pessoas."""
    primeiro, segundo = recepcao.cliente("Yuri"), recepcao.cliente("Yuri")
    recepcao.filas.sair(segundo)
    assert recepcao.filas.fila_clientes == [primeiro]


def test_entrar_diz_a_quem_entregar(recepcao):
    """O efeito de formar um par nomeia os dois, que têm linhas a receber."""
    yuri, ana = recepcao.cliente(), Participante()
    recepcao.filas.admitir(ana)
    assert set(recepcao.filas.entrar(ana, ATENDENTE, "Ana").destinos) == {yuri, ana}


def test_resposta_nao_muda_nada(recepcao):
    """Uma pergunta ou um aviso chega a um só e não tira ninguém de onde está."""
    yuri, ana = recepcao.par()
    efeito = recepcao.filas.responder(yuri, LONGA_DEMAIS)
    assert list(efeito.destinos) == [yuri]
    assert recepcao.leu(yuri) == ["AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada."]
    assert recepcao.leu(ana) == []
    assert recepcao.filas.user_states[yuri].par is ana


# --- Posições -----------------------------------------------------------------------------------


@pytest.fixture
def tres(recepcao):
    """Yuri, Bia e Caio na fila, com a posição de entrada já lida."""
    clientes = [recepcao.cliente(nome) for nome in ("Yuri", "Bia", "Caio")]
    for cliente in clientes:
        recepcao.leu(cliente)
    return clientes


@pytest.mark.parametrize(
    "quem_sai, lidas",
    [(0, [[], ["FILA:1"], ["FILA:2"]]), (1, [[], [], ["FILA:2"]]), (2, [[], [], []])],
    ids=["o-primeiro", "o-do-meio", "o-ultimo"],
)
def test_posicao_so_para_quem_mudou(recepcao, tres, quem_sai, lidas):
    """Quando alguém deixa a fila, só quem estava atrás dele lê uma posição nova."""
    recepcao.filas.sair(tres[quem_sai])
    mudou = any(lidas)
    assert recepcao.filas.posicoes_mudaram is mudou
    efeito = recepcao.filas.publicar_posicoes()
    assert [recepcao.leu(cliente) for cliente in tres] == lidas
    assert list(efeito.destinos) == [cliente for cliente, linhas in zip(tres, lidas) if linhas]


def test_par_formado_muda_as_posicoes(recepcao, tres):
    """Quem é atendido deixa a fila: os outros avançam."""
    recepcao.atendente()
    assert recepcao.filas.posicoes_mudaram
    recepcao.filas.publicar_posicoes()
    assert [recepcao.leu(cliente) for cliente in tres] == [["CONECTADO:Ana"], ["FILA:1"], ["FILA:2"]]


def test_posicoes_em_rajada_resumidas(recepcao, tres):
    """De duas mudanças antes de publicar, só a última posição é contada, e uma vez só."""
    yuri, bia, caio = tres
    recepcao.filas.sair(yuri)
    recepcao.filas.encerrar(bia)
    recepcao.filas.publicar_posicoes()
    assert not recepcao.filas.posicoes_mudaram
    assert not recepcao.filas.publicar_posicoes().destinos
    assert recepcao.leu(caio) == ["FILA:1"]


def test_quem_entra_com_posicoes_por_publicar(recepcao, tres):
    """Quem entra antes da publicação lê a posição certa, e não a lê de novo."""
    recepcao.filas.sair(tres[0])
    davi = recepcao.cliente("Davi")
    recepcao.filas.publicar_posicoes()
    assert recepcao.leu(davi) == ["FILA:3"]


def test_nenhuma_posicao_depois_do_conectado(recepcao, tres):
    """Quem é atendido antes da publicação não lê mais posição nenhuma."""
    yuri, bia, _ = tres
    recepcao.filas.sair(yuri)
    recepcao.atendente()
    recepcao.filas.publicar_posicoes()
    assert recepcao.leu(bia) == ["CONECTADO:Ana"]


# --- Conversa -----------------------------------------------------------------------------------


def test_mensagem_chega_ao_par(recepcao):
    """O que um diz chega ao outro, na ordem e sob o nome de quem falou."""
    yuri, ana = recepcao.par()
    assert recepcao.dizer(yuri, "Olá!", "FIM:") is ana
    assert recepcao.dizer(ana, "Oi, Yuri.") is yuri
    assert recepcao.leu(ana) == ["[Yuri]: Olá!", "[Yuri]: FIM:"]
    assert recepcao.leu(yuri) == ["[Ana]: Oi, Yuri."]


def test_conversas_nao_se_misturam(recepcao):
    """Cada conversa é de dois: ninguém mais a lê."""
    yuri, ana = recepcao.par()
    bia, bruno = recepcao.cliente("Bia"), recepcao.atendente("Bruno")
    recepcao.leu(bia), recepcao.leu(bruno)
    recepcao.dizer(yuri, "segredo")
    assert [recepcao.leu(cada) for cada in (yuri, ana, bia, bruno)] == [[], ["[Yuri]: segredo"], [], []]


NA_ESPERA = "AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente."
NAO_GUARDADA = "AVISO:Limite de mensagens na espera atingido; a mensagem não foi guardada."


@pytest.mark.parametrize("por_vez", [1, 7, 22], ids=["uma-a-uma", "de-sete-em-sete", "todas-juntas"])
def test_mensagens_guardadas_na_espera(recepcao, por_vez):
    """Vinte mensagens esperam e são entregues na ordem logo depois do `CONECTADO:`; as outras são recusadas."""
    yuri = recepcao.cliente()
    textos = [f"mensagem {numero}" for numero in range(1, 23)]
    for inicio in range(0, len(textos), por_vez):
        assert recepcao.dizer(yuri, *textos[inicio : inicio + por_vez]) is yuri
    assert recepcao.leu(yuri) == ["FILA:1", NA_ESPERA, NAO_GUARDADA, NAO_GUARDADA]
    ana = recepcao.atendente()
    assert recepcao.leu(ana) == ["CONECTADO:Yuri", *(f"[Yuri]: {texto}" for texto in textos[:20])]


def test_vinte_mensagens_cabem_na_espera(recepcao):
    """Até a vigésima mensagem nenhuma é recusada."""
    yuri = recepcao.cliente()
    recepcao.dizer(yuri, *["oi"] * MAXIMO_GUARDADO)
    assert MAXIMO_GUARDADO == 20
    assert recepcao.leu(yuri) == ["FILA:1", NA_ESPERA]


def test_guardadas_vem_antes_das_novas(recepcao):
    """O que foi dito na espera chega antes do que é dito na conversa, e uma vez só."""
    yuri = recepcao.cliente()
    recepcao.dizer(yuri, "na fila")
    ana = recepcao.atendente()
    recepcao.dizer(yuri, "na conversa")
    assert recepcao.leu(ana) == ["CONECTADO:Yuri", "[Yuri]: na fila", "[Yuri]: na conversa"]


def test_atendente_que_fala_sozinho(recepcao):
    """Cada mensagem do atendente sem cliente é recusada com um aviso."""
    ana = recepcao.atendente()
    assert recepcao.dizer(ana, "oi", "alguém?") is ana
    assert recepcao.leu(ana) == ["FILA:OK", *["AVISO:Nenhum cliente conectado; a mensagem não foi enviada."] * 2]


# --- Fim ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tipo", [CLIENTE, ATENDENTE], ids=["cliente", "atendente"])
def test_fim_na_fila(recepcao, tipo):
    """`FIM:` fora da conversa tira da fila e desconecta, seja quem for."""
    eu = recepcao.chegar(tipo, "Yuri")
    recepcao.leu(eu)
    recepcao.filas.encerrar(eu)
    assert recepcao.filas.recolher(eu) == ("FIM:Você saiu da fila.\n".encode(), True)
    assert not recepcao.filas.user_states and not recepcao.filas.fila_clientes and not recepcao.filas.fila_atendentes


# quem age: (o método, o que o cliente lê, o que o atendente lê)
FINS = {
    "cliente-encerra": (
        ("encerrar", CLIENTE),
        ["FIM:Atendimento encerrado. Você encerrou a conversa."],
        ["FIM:Atendimento encerrado. O cliente Yuri encerrou a conversa.", "FILA:OK"],
    ),
    "atendente-encerra": (
        ("encerrar", ATENDENTE),
        ["FIM:Atendimento encerrado. O atendente Ana encerrou a conversa."],
        ["FIM:Atendimento encerrado. Você encerrou a conversa.", "FILA:OK"],
    ),
    "cliente-sai": (
        ("sair", CLIENTE),
        [],
        ["FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK"],
    ),
    "atendente-sai": (
        ("sair", ATENDENTE),
        ["FIM:Atendimento encerrado. O atendente Ana desconectou."],
        [],
    ),
}


@pytest.mark.parametrize("fato, do_cliente, do_atendente", FINS.values(), ids=FINS)
def test_fim_da_conversa(recepcao, fato, do_cliente, do_atendente):
    """A conversa acaba com o motivo certo para cada lado; o cliente se vai e o atendente que fica espera."""
    yuri, ana = recepcao.par()
    metodo, tipo = fato
    efeito = getattr(recepcao.filas, metodo)(yuri if tipo is CLIENTE else ana)
    lidas = {yuri: recepcao.leu(yuri), ana: recepcao.leu(ana)}
    assert lidas == {yuri: do_cliente, ana: do_atendente}
    assert set(efeito.destinos) == {eu for eu, linhas in lidas.items() if linhas}
    assert yuri.retirado
    assert recepcao.filas.fila_atendentes == ([] if ana.retirado else [ana])
    assert ana.retirado is (metodo == "sair" and tipo is ATENDENTE)


@pytest.mark.parametrize("metodo", ["encerrar", "sair"])
def test_atendente_livre_passa_ao_proximo(recepcao, metodo):
    """Com cliente esperando, o atendente lê o `FIM:` de um e já o `CONECTADO:` do outro, sem `FILA:OK`."""
    yuri, ana = recepcao.par()
    recepcao.cliente("Bia")
    getattr(recepcao.filas, metodo)(yuri)
    fim, conectado = recepcao.leu(ana)
    assert fim.startswith("FIM:Atendimento encerrado. O cliente Yuri ")
    assert conectado == "CONECTADO:Bia"


def test_atendente_volta_para_o_fim_da_fila(recepcao):
    """O atendente que acaba uma conversa fica atrás dos que já esperavam."""
    yuri, ana = recepcao.par()
    bruno = recepcao.atendente("Bruno")
    recepcao.filas.encerrar(yuri)
    assert recepcao.filas.fila_atendentes == [bruno, ana]


def test_mensagem_chega_antes_do_fim(recepcao):
    """O que foi dito antes de sair é lido antes do `FIM:`."""
    yuri, ana = recepcao.par()
    recepcao.dizer(yuri, "tchau")
    recepcao.filas.sair(yuri)
    assert recepcao.leu(ana) == ["[Yuri]: tchau", "FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK"]


def test_cliente_que_sai_da_fila_leva_o_que_guardou(recepcao):
    """As mensagens de quem desiste não chegam a ninguém."""
    yuri = recepcao.cliente()
    recepcao.dizer(yuri, "oi")
    recepcao.filas.sair(yuri)
    assert recepcao.leu(recepcao.atendente()) == ["FILA:OK"]


def test_sair_antes_de_se_identificar(recepcao):
    """Quem cai durante a identificação some sem deixar rastro nem registro."""
    eu = Participante()
    recepcao.filas.admitir(eu)
    assert not recepcao.filas.sair(eu).registros
    assert eu.retirado and not recepcao.filas.user_states


def test_sair_e_idempotente(recepcao):
    """Sair outra vez não faz nada, nem para quem saiu nem para o par."""
    yuri, ana = recepcao.par()
    recepcao.filas.sair(yuri)
    recepcao.leu(ana)
    efeito = recepcao.filas.sair(yuri)
    assert not efeito.destinos and not efeito.registros
    assert recepcao.leu(ana) == []
    assert recepcao.filas.fila_atendentes == [ana]


FATOS_TARDIOS = {
    "consultar": lambda filas, eu: filas.consultar(eu).destinos,
    "pausar": lambda filas, eu: filas.pausar(eu).destinos,
    "voltar": lambda filas, eu: filas.voltar(eu).destinos,
    "transferir": lambda filas, eu: filas.transferir(eu, "Suporte").destinos,
    "entrar": lambda filas, eu: filas.entrar(eu, CLIENTE, "Yuri").destinos,
    "falar": lambda filas, eu: filas.repassar_chat(eu, Mensagem("Yuri", ["oi"])),
    "responder": lambda filas, eu: filas.responder(eu, Pergunta("nome")).destinos,
    "recusar": lambda filas, eu: filas.recusar(eu, Fim("não")).destinos,
    "encerrar": lambda filas, eu: filas.encerrar(eu).destinos,
    "sair": lambda filas, eu: filas.sair(eu).destinos,
}


@pytest.mark.parametrize("fato", FATOS_TARDIOS.values(), ids=FATOS_TARDIOS)
def test_fato_de_quem_ja_saiu_e_ignorado(recepcao, fato):
    """O que a thread de uma conexão ainda conte depois de ela ser retirada não muda nada."""
    yuri, ana = recepcao.par()
    recepcao.filas.sair(yuri)
    recepcao.leu(ana)
    assert not fato(recepcao.filas, yuri)
    assert recepcao.leu(yuri) == recepcao.leu(ana) == []
    assert list(recepcao.filas.user_states) == recepcao.filas.fila_atendentes == [ana]
    assert not recepcao.filas.fila_clientes


# --- O servidor inteiro -------------------------------------------------------------------------


def test_teto_de_conexoes():
    """Quem passa do teto lê que o servidor está lotado; saindo alguém, há lugar para outro."""
    filas = Filas(maximo=2)
    um, dois, tres, quatro = (Participante() for _ in range(4))
    assert filas.admitir(um) and filas.admitir(dois)
    assert not filas.admitir(tres)
    assert filas.recolher(tres) == (b"FIM:Servidor lotado; tente mais tarde.\n", True)
    assert list(filas.user_states) == [um, dois]
    filas.sair(um)
    assert filas.admitir(quatro)


def test_recusar(recepcao):
    """Quem não se identifica direito lê o motivo e é desconectado."""
    eu = Participante()
    recepcao.filas.admitir(eu)
    efeito = recepcao.filas.recusar(eu, Fim("Tempo de identificação esgotado."))
    assert list(efeito.destinos) == [eu]
    assert recepcao.filas.recolher(eu) == ("FIM:Tempo de identificação esgotado.\n".encode(), True)
    assert not recepcao.filas.user_states


def test_desligar(recepcao):
    """Ao encerrar, todos leem `FIM:Servidor encerrado.` e só ele, estejam onde estiverem."""
    todos = [*recepcao.par(), recepcao.cliente("Bia"), recepcao.cliente("Caio"), Participante()]
    recepcao.filas.admitir(todos[-1])
    for cada in todos:
        recepcao.leu(cada)
    assert set(recepcao.filas.desligar().destinos) == set(todos)
    assert [recepcao.filas.recolher(cada) for cada in todos] == [(b"FIM:Servidor encerrado.\n", True)] * len(todos)
    assert not recepcao.filas.user_states and not recepcao.filas.fila_clientes and not recepcao.filas.fila_atendentes


def test_ninguem_entra_depois_de_desligar(recepcao):
    """Quem chega com o servidor encerrando lê isso e é desconectado."""
    recepcao.filas.desligar()
    eu = Participante()
    assert not recepcao.filas.admitir(eu)
    assert recepcao.filas.recolher(eu) == (b"FIM:Servidor encerrado.\n", True)


def test_caixa_cheia(recepcao):
    """A caixa de saída está cheia a partir de `CAIXA_CHEIA` bytes, e deixa de estar quando é recolhida."""
    yuri, ana = recepcao.par()
    recepcao.dizer(yuri, "x" * (CAIXA_CHEIA - 2 * len("[Yuri]: \n")))
    assert not recepcao.filas.caixa_cheia(ana)
    recepcao.dizer(yuri, "")
    assert recepcao.filas.caixa_cheia(ana)
    recepcao.leu(ana)
    assert not recepcao.filas.caixa_cheia(ana)


def test_registros_do_log(recepcao):
    """Cada mudança de estado deixa no log a sua marca."""
    yuri, ana = Participante(), recepcao.atendente()
    recepcao.filas.admitir(yuri)
    par = recepcao.filas.entrar(yuri, CLIENTE, "Yuri")
    fim = recepcao.filas.sair(yuri)
    assert par.registros == [("MATCHMAKER", "Par formado: Yuri (CLIENTE) com Ana (ATENDENTE).")]
    assert [marca for marca, _ in fim.registros] == ["DISCONNECT", "RE-QUEUE"]
    assert [marca for marca, _ in recepcao.filas.encerrar(ana).registros] == ["DISCONNECT"]


# =================================================================================================
# Todas as ordens de um cenário pequeno.
#
# Um punhado de clientes e atendentes e um explorador que, em cada situação alcançável, experimenta
# cada fato possível. As histórias são infinitas, mas as situações não: duas histórias que levam à
# mesma têm o mesmo futuro, e basta seguir a mais curta. Depois de cada fato conferem-se os
# invariantes, e não só por dentro das filas: cada ator lê as suas linhas, como se viessem da rede, e
# o que sabe vem só delas.
# =================================================================================================

# Os avisos que mudam onde se está; os outros só informam.
MUDANCAS = {"Você foi transferido": "transferido", "O atendente": "devolvido", "Você está em pausa.": "em-pausa"}

# O que cada um pode ler, e onde passa a estar depois.
GRAMATICA = {
    CLIENTE: {
        ("fora", Fila): "fila",
        ("fora", Conectado): "conversa",
        ("fila", Fila): "fila",
        ("fila", Aviso): "fila",
        ("fila", Conectado): "conversa",
        ("fila", Fim): "fim",
        ("conversa", Mensagem): "conversa",
        ("conversa", Aviso): "conversa",
        ("conversa", Fim): "fim",
        ("conversa", "transferido"): "fora",  # e logo depois, no mesmo fato, outra vez na fila ou em conversa
        ("conversa", "devolvido"): "fora",  # idem
    },
    ATENDENTE: {
        ("fora", Fila): "fila",
        ("fora", Conectado): "conversa",
        ("fora", "em-pausa"): "pausa",
        ("fila", Aviso): "fila",
        ("fila", "em-pausa"): "pausa",
        ("fila", Conectado): "conversa",
        ("fila", Fim): "fim",
        ("conversa", Mensagem): "conversa",
        ("conversa", Aviso): "conversa",
        ("conversa", Fim): "fora",  # e logo depois, no mesmo fato, na fila, em pausa ou com outro cliente
        ("pausa", Aviso): "pausa",
        ("pausa", Fila): "fila",
        ("pausa", Conectado): "conversa",
        ("pausa", Fim): "fim",
    },
}


class Ator(Participante):
    """Um participante que lê o que lhe mandam, confere a gramática e lembra o que ouviu."""

    def __init__(self, tipo, nome, departamentos, ouvidas):
        super().__init__()
        self.tipo, self.nome, self.departamentos = tipo, nome, departamentos
        self.ouvidas = ouvidas  # (cliente da conversa, quem, qual): de todos, na ordem em que se ouviram
        # O que sabe, e só pelo que leu:
        self.onde = "fora"
        self.com = None  # o nome de quem conversa com ele
        self.posicao = None
        self.ditas = []  # como as ouvidas, mas só as suas
        self.na_espera = []  # ditas na fila: só serão ouvidas se houver conversa
        self.faladas = 0
        self.chegada = 0  # o número do fato que o pôs na fila; negativo, se foi na frente dela

    @property
    def conversa(self):
        return self.nome if self.tipo is CLIENTE else self.com

    def falar(self):
        """Diz algo, e devolve o quê."""
        self.faladas += 1
        if self.onde != "fim":
            onde_fica = self.na_espera if self.tipo is CLIENTE and self.onde == "fila" else self.ditas
            onde_fica.append((self.conversa, self.nome, str(self.faladas)))
        return str(self.faladas)

    def ler(self, comando, agora):
        mudanca = isinstance(comando, Aviso) and next(filter(comando.mensagem.startswith, MUDANCAS), None)
        passo = self.onde, MUDANCAS[mudanca] if mudanca else type(comando)
        assert passo in GRAMATICA[self.tipo], f"gramática: {self.nome}, em {self.onde}, leu {comando}"
        if self.onde == "pausa" and not isinstance(comando, Aviso):
            self.chegada = agora
        self.onde = GRAMATICA[self.tipo][passo]
        match comando:
            case Fila(posicao):
                assert (posicao is None) == (self.tipo is ATENDENTE), f"gramática: {self.nome} leu {comando}"
                assert posicao is None or posicao != self.posicao, f"posição: {self.nome} já sabia a sua"
                self.posicao = posicao
            case Conectado(nome):
                self.com, self.posicao = nome, None
                self.ditas += self.na_espera
                self.na_espera = []
            case Mensagem(nome, (texto,)):
                assert nome == self.com, f"conversa: {self.nome}, que está com {self.com}, ouviu {nome}"
                self.ouvidas.append((self.conversa, nome, texto))
            case Aviso(motivo) if "não foi" in motivo:
                del (self.na_espera if self.tipo is CLIENTE else self.ditas)[-1:]
            case Aviso() if self.onde == "fora":
                self.chegada = -agora
            case Fim() if self.tipo is ATENDENTE:
                self.chegada = agora


class Mundo:
    """As filas, os atores e a história que os trouxe até aqui."""

    def __init__(self, filas, clientes, atendentes):
        self.filas = filas
        self.filas.trava = contextlib.nullcontext()  # há uma thread só, e uma trava não se copia
        self.ouvidas = []
        self.clientes = [Ator(CLIENTE, nome, onde, self.ouvidas) for nome, onde in clientes.items()]
        self.atendentes = [Ator(ATENDENTE, nome, onde, self.ouvidas) for nome, onde in atendentes.items()]
        self.atores = self.clientes + self.atendentes
        self.historia = []

    def fatos_possiveis(self):
        """Os (fato, número do ator, ...) que podem acontecer agora, também os tardios de quem já saiu."""
        # Dos que ainda não entraram e só diferem no nome, basta que entre o primeiro.
        de_fora = {}
        for numero, ator in enumerate(self.atores):
            if not ator.chegada:
                de_fora.setdefault((ator.tipo, ator.departamentos), numero)
        yield from (("entrar", numero) for numero in de_fora.values())
        for numero, ator in enumerate(self.atores):
            if ator.onde == "fora":
                continue
            yield from (("falar", numero), ("encerrar", numero), ("sair", numero))
            if self.filas.departamentos and ator.onde != "fim":
                yield from (("consultar", numero), ("pausar", numero), ("voltar", numero))
                yield from (("transferir", numero, nome) for nome in self.filas.departamentos)
        yield ("publicar_posicoes",)

    def acontece(self, fato, *args):
        """Um fato; depois dele cada um lê tudo o que tem por ler, e os invariantes são conferidos."""
        if args:
            args = self.atores[args[0]], *args[1:]
        antes, tardio = self.resumo(), any(cada.onde == "fim" for cada in args[:1])
        self.historia.append(" ".join([fato, *(getattr(cada, "nome", cada) for cada in args)]))
        destinos = getattr(self, fato)(*args)
        conectados = []
        for cada in [ator for ator in self.atores if ator.caixa]:
            dados, _ = self.filas.recolher(cada)
            comandos = Texto().ler_servidor(SeparadorDeLinhas().alimentar(dados))
            assert len(comandos) == dados.count(b"\n"), f"gramática: {cada.nome} não entendeu {dados}"
            assert cada in destinos, f"entrega: ninguém foi entregar a {cada.nome} o que há na caixa"
            tipos = [*map(type, comandos)]
            assert [Fila, Conectado] not in [*map(list, zip(tipos, tipos[1:]))], f"gramática: {cada.nome} esperou à toa"
            for comando in comandos:
                cada.ler(comando, agora=len(self.historia))
            conectados += [cada] * (Conectado in tipos)
        assert not tardio or self.resumo() == antes, "retirados: quem já saiu mudou algo"
        for conferir in INVARIANTES:
            conferir(self)
        for cada in conectados:
            self.conferir_a_vez(cada)

    def conferir_a_vez(self, ator):
        """De quem poderia ter formado par no lugar de `ator`, ninguém esperava há mais tempo."""
        par = self.filas.user_states[ator].par
        fila = self.filas.fila_clientes if ator.tipo is CLIENTE else self.filas.fila_atendentes
        servem = [outro for outro in fila if se_servem(outro, par)]
        assert all(ator.chegada < outro.chegada for outro in servem), f"ordem: {ator.nome} passou à frente"

    def entrar(self, ator):
        ator.chegada = len(self.historia)
        self.filas.admitir(ator)
        return self.filas.entrar(ator, ator.tipo, ator.nome, ator.departamentos).destinos

    def falar(self, ator):
        return [self.filas.repassar_chat(ator, Mensagem(ator.nome, [ator.falar()]))]

    def encerrar(self, ator):
        return self.filas.encerrar(ator).destinos

    def sair(self, ator):
        ator.onde = "fim"  # não lê mais nada
        return self.filas.sair(ator).destinos

    def consultar(self, ator):
        return self.filas.consultar(ator).destinos

    def pausar(self, ator):
        return self.filas.pausar(ator).destinos

    def voltar(self, ator):
        return self.filas.voltar(ator).destinos

    def transferir(self, ator, departamento):
        return self.filas.transferir(ator, departamento).destinos

    def publicar_posicoes(self):
        return self.filas.publicar_posicoes().destinos

    def resumo(self):
        """O que basta para saber o futuro: dois mundos com o mesmo resumo são a mesma situação."""
        filas = self.filas.fila_clientes + self.filas.fila_atendentes
        return self.filas.posicoes_mudaram, *(ator.nome for ator in filas), *map(self.situacao, self.atores)

    def situacao(self, ator):
        estado = self.filas.user_states.get(ator)
        if estado is None:
            return ator.onde
        onde = ator.com if estado.par else (ator.posicao, len(estado.guardadas))
        return onde, estado.quer_pausa, ator.departamentos


def se_servem(um, outro):
    """O departamento do cliente é um dos do atendente."""
    return bool({*um.departamentos} & {*outro.departamentos})


# --- Os invariantes, verdadeiros depois de cada fato --------------------------------------------


def ninguem_em_dois_lugares(mundo):
    """Cada um está uma vez numa fila, ou numa conversa, ou em nenhum dos dois."""
    filas = mundo.filas
    conversando = [eu for eu, estado in filas.user_states.items() if estado.par]
    lugares = filas.fila_clientes + filas.fila_atendentes + conversando
    assert len(lugares) == len(set(lugares)), "lugares: alguém está em dois"


def estados_e_listas_concordam(mundo):
    """Está na fila do seu tipo quem tem a fase de fila, e ninguém mais; online, quem não está em pausa."""
    filas = mundo.filas
    for tipo, fila in (CLIENTE, filas.fila_clientes), (ATENDENTE, filas.fila_atendentes):
        na_fase = {eu for eu, estado in filas.user_states.items() if estado.fase is Fase.FILA and eu.tipo is tipo}
        assert na_fase == set(fila), "estados: a fila e as fases não concordam"
    atendentes = {eu: estado.fase for eu, estado in filas.user_states.items() if eu.tipo is ATENDENTE}
    assert filas.online == {eu for eu, fase in atendentes.items() if fase is not Fase.PAUSA}, "estados: online"


def pares_sao_de_um_cliente_e_um_atendente(mundo):
    """Quem está em conversa tem par; o par é do outro tipo, serve, e o par do par é ele."""
    estados = mundo.filas.user_states
    for eu, estado in estados.items():
        assert (estado.fase is Fase.CONVERSA) == (estado.par is not None), f"pares: {eu} está em {estado.fase}"
        if estado.par:
            assert estado.par in estados, f"pares: {eu} conversa com quem já saiu"
            assert estados[estado.par].par is eu and estado.par.tipo is not eu.tipo, f"pares: o de {eu} não é recíproco"
            assert estados[estado.par].conversa is estado.conversa, f"pares: a conversa de {eu} não é a do par"
            assert se_servem(eu, estado.par), f"pares: o de {eu} não é do departamento"


def ninguem_espera_a_toa(mundo):
    """Nunca esperam ao mesmo tempo um cliente e um atendente que o poderia atender."""
    pares = [se_servem(*par) for par in itertools.product(mundo.filas.fila_clientes, mundo.filas.fila_atendentes)]
    assert not any(pares), "espera: há um par por formar"


def quem_chega_antes_esta_na_frente(mundo):
    """As filas estão na ordem de chegada."""
    for fila in mundo.filas.fila_clientes, mundo.filas.fila_atendentes:
        chegadas = [ator.chegada for ator in fila]
        assert chegadas == sorted(chegadas), "ordem: a fila não está na ordem de chegada"


def cada_um_sabe_onde_esta(mundo):
    """O que cada um leu diz onde as filas o têm, e com quem; de quem saiu elas não guardam nada."""
    for ator in mundo.atores:
        estado = mundo.filas.user_states.get(ator)
        assert ator.retirado == (ator.onde == "fim"), f"retirados: {ator.nome} leu que está em {ator.onde}"
        dentro = ator.onde in ("fila", "conversa", "pausa")
        assert (estado is not None) == dentro, f"retirados: {ator.nome}, em {ator.onde}"
        if estado:
            assert estado.fase.name.lower() == ator.onde, f"fase: {ator.nome} leu que está em {ator.onde}"
            assert not estado.par or estado.par.nome == ator.com, f"fase: {ator.nome} leu que está com {ator.com}"


def posicoes_sabidas_ou_por_publicar(mundo):
    """Cada cliente que espera leu a sua posição no departamento, ou há outra por publicar."""
    filas, quantos = mundo.filas, Counter()
    for cliente in filas.fila_clientes:
        quantos[cliente.departamentos] += 1
        posicao = quantos[cliente.departamentos]
        assert cliente.posicao == posicao or filas.posicoes_mudaram, f"posição: {cliente.nome} não lê a nova"
        # Só quem volta à frente da fila faz recuar os outros.
        assert cliente.posicao >= posicao or filas.devolver, f"posição: {cliente.nome} leu uma melhor do que a sua"


def cada_mensagem_chega_uma_vez_e_na_ordem(mundo):
    """O que se disse numa conversa, ou à espera dela, é o que se ouviu: nem a mais, nem a menos, nem trocado."""
    for ator, estado in mundo.filas.user_states.items():
        assert estado.guardadas == [qual for _, _, qual in ator.na_espera], f"mensagens: as guardadas de {ator.nome}"
    ditas = [dita for ator in mundo.atores for dita in ator.ditas]
    de_quem = operator.itemgetter(0, 1)  # a ordem que importa é a de cada um em cada conversa, e `sorted` a mantém
    assert sorted(ditas, key=de_quem) == sorted(mundo.ouvidas, key=de_quem), "mensagens: o dito não é o ouvido"


INVARIANTES = [
    ninguem_em_dois_lugares,
    estados_e_listas_concordam,
    pares_sao_de_um_cliente_e_um_atendente,
    ninguem_espera_a_toa,
    quem_chega_antes_esta_na_frente,
    cada_um_sabe_onde_esta,
    posicoes_sabidas_ou_por_publicar,
    cada_mensagem_chega_uma_vez_e_na_ordem,
]

# --- O explorador -------------------------------------------------------------------------------


# O elenco de cada exploração: quem é cliente e quem é atendente, e de que departamentos.
SEM_NADA = dict.fromkeys(("Caio", "Ciro", "Cora"), ("",)), dict.fromkeys(("Alan", "Alba", "Ana"), ("",))
COM_TUDO = {"Caio": ("V",), "Cora": ("S",)}, {"Alan": ("V",), "Ana": ("V", "S")}


def explorar(filas, elenco=SEM_NADA):
    """Experimenta todos os fatos em todas as situações; devolve quantas são e quantos fatos houve.

    Em largura: a história do erro que levanta é das mais curtas que levam a ele, a menos dos fatos
    que não mudaram nada.
    """
    inicio = Mundo(filas, *elenco)
    vistas, fatos = {inicio.resumo()}, 0
    por_explorar = deque([pickle.dumps(inicio)])
    while por_explorar:
        foto = por_explorar.popleft()
        mundo = pickle.loads(foto)
        situacao = mundo.resumo()
        for fato in list(mundo.fatos_possiveis()):
            try:
                mundo.acontece(*fato)
            except Exception as erro:  # o de um invariante ou o das próprias filas
                raise AssertionError(f"{erro}\nHistória: {', '.join(mundo.historia)}") from erro
            fatos += 1
            nova = mundo.resumo()
            if nova == situacao:
                continue  # o mesmo mundo serve para o fato seguinte
            if nova not in vistas:
                vistas.add(nova)
                por_explorar.append(pickle.dumps(mundo))
            mundo = pickle.loads(foto)
    return len(vistas), fatos


@pytest.fixture
def espera_curta(monkeypatch):
    """Duas mensagens guardadas em vez de vinte: o limite entra na exploração."""
    monkeypatch.setattr(modulo, "MAXIMO_GUARDADO", 2)


def test_todas_as_ordens(espera_curta):
    """Nenhuma ordem de entradas, falas, pedidos de fim e saídas quebra um invariante."""
    situacoes, fatos = explorar(Filas())
    assert situacoes > 500 and fatos > 10 * situacoes


@pytest.fixture
def so_uma_guardada(monkeypatch):
    """Com mais atores e mais fatos, uma mensagem guardada basta."""
    monkeypatch.setattr(modulo, "MAXIMO_GUARDADO", 1)


def test_todas_as_ordens_com_tudo_ligado(so_uma_guardada):
    """O mesmo com departamentos, pausas, transferências e a devolução do cliente de quem cai."""
    situacoes, fatos = explorar(Filas(departamentos=("V", "S"), devolver=True), COM_TUDO)
    assert situacoes > 1000 and fatos > 20 * situacoes


# --- Erros plantados: o explorador os acha? -----------------------------------------------------


class UltimoClientePrimeiro(Filas):
    def tentar_formar_par(self, efeito):
        self.fila_clientes[:0] = [self.fila_clientes.pop()] if self.fila_clientes else []
        return super().tentar_formar_par(efeito)


class AtendenteVoltaNaFrente(Filas):
    def encerrar(self, eu):
        efeito = super().encerrar(eu)
        self.fila_atendentes[:0] = [self.fila_atendentes.pop()] if self.fila_atendentes else []
        return efeito


class ClienteDuasVezesNaFila(Filas):
    def entrar(self, eu, tipo, nome, onde):
        efeito = super().entrar(eu, tipo, nome, onde)
        self.fila_clientes += [cliente for cliente in self.fila_clientes if cliente is eu]
        return efeito


class QuemSaiFicaNaFila(Filas):
    def sair(self, eu):
        antes = self.fila_clientes.copy()
        efeito = super().sair(eu)
        self.fila_clientes = antes
        return efeito


class QuemSaiNaoSoltaOPar(Filas):
    def sair(self, eu):
        if eu in self.user_states:
            self.user_states[eu].par = None
        return super().sair(eu)


class SoFormaParComUmNaFila(Filas):
    def tentar_formar_par(self, efeito):
        return len(self.fila_clientes) == 1 and super().tentar_formar_par(efeito)


class EsqueceAsGuardadas(Filas):
    def tentar_formar_par(self, efeito):
        for cliente in self.fila_clientes[:1]:
            self.user_states[cliente].guardadas.clear()
        return super().tentar_formar_par(efeito)


class RepeteAsMensagens(Filas):
    def repassar_chat(self, eu, mensagem):
        super().repassar_chat(eu, mensagem)
        return super().repassar_chat(eu, mensagem)


class EsqueceAsPosicoes(Filas):
    def publicar_posicoes(self):
        self.posicoes_mudaram = False
        return Efeito()


class EsqueceAEntrega(Filas):
    def encerrar(self, eu):
        super().encerrar(eu)
        return Efeito()


class EscreveAQuemSaiu(Filas):
    def sair(self, eu):
        efeito = super().sair(eu)
        self._contar(efeito, eu, Fim("Até logo."))
        return efeito


class FilaAntesDoConectado(Filas):
    def entrar(self, eu, tipo, nome, onde):
        if tipo is ATENDENTE and self.fila_clientes:
            self._dizer(eu, Fila(None))
        return super().entrar(eu, tipo, nome, onde)


# o erro plantado: a primeira palavra da queixa
PLANTADOS = {
    UltimoClientePrimeiro: "ordem",
    AtendenteVoltaNaFrente: "ordem",
    ClienteDuasVezesNaFila: "lugares",
    QuemSaiFicaNaFila: "estados",
    QuemSaiNaoSoltaOPar: "pares",
    SoFormaParComUmNaFila: "espera",
    EsqueceAsGuardadas: "mensagens",
    RepeteAsMensagens: "mensagens",
    EsqueceAsPosicoes: "posição",
    EsqueceAEntrega: "entrega",
    EscreveAQuemSaiu: "gramática",
    FilaAntesDoConectado: "gramática",
}


class QualquerAtendenteServe(Filas):
    def _par_possivel(self):
        return (self.fila_clientes[0], self.fila_atendentes[0]) if self.fila_clientes and self.fila_atendentes else None


class SoOlhaOPrimeiroDaFila(Filas):
    def _par_possivel(self):
        par = super()._par_possivel()
        return par if par and par[0] is self.fila_clientes[0] else None


class AtendenteMaisNovoPrimeiro(Filas):
    def _par_possivel(self):
        par = super()._par_possivel()
        servem = [cada for cada in self.fila_atendentes if par and par[0].departamentos[0] in cada.departamentos]
        return (par[0], servem[-1]) if par else None


class TransferidoVaiParaOFim(Filas):
    def _enfileirar(self, efeito, *chegaram, na_frente=False):
        super()._enfileirar(efeito, *chegaram)


class TransferidoFicaOndeEstava(Filas):
    def transferir(self, eu, departamento):
        cliente = self.user_states[eu].par if eu in self.user_states else None
        antes = cliente and cliente.departamentos
        efeito = super().transferir(eu, departamento)
        if cliente in self.fila_clientes:
            cliente.departamentos = antes
        return efeito


class NaoAvisaDeQuemPassouAFrente(Filas):
    def _enfileirar(self, efeito, *chegaram, na_frente=False):
        mudaram = self.posicoes_mudaram
        super()._enfileirar(efeito, *chegaram, na_frente=na_frente)
        self.posicoes_mudaram = mudaram


class ContaAFilaDeTodos(Filas):
    def _fila_de(self, departamentos):
        return self.fila_clientes


class EmPausaContinuaNaFila(Filas):
    def pausar(self, eu):
        antes = self.fila_atendentes.copy()
        efeito = super().pausar(eu)
        self.fila_atendentes = antes
        return efeito


class EsqueceAPausaPedida(Filas):
    def _acabar_para(self, efeito, eu, motivo):
        if eu in self.user_states and self.user_states[eu].quer_pausa:
            self.user_states[eu].quer_pausa = False
            self._dizer(eu, Aviso("Você está em pausa."))
        super()._acabar_para(efeito, eu, motivo)


class EmPausaContinuaOnline(Filas):
    def _comecar_pausa(self, efeito, atendente):
        super()._comecar_pausa(efeito, atendente)
        self.online.add(atendente)


class VoltaNaFrente(Filas):
    def voltar(self, eu):
        efeito = super().voltar(eu)
        self.fila_atendentes[:0] = [self.fila_atendentes.pop()] if eu in self.fila_atendentes else []
        return efeito


class EntregaDuasVezesAsGuardadas(Filas):
    def tentar_formar_par(self, efeito):
        par = self._par_possivel()
        guardadas = par and list(self.user_states[par[0]].guardadas)
        formou = super().tentar_formar_par(efeito)
        if formou:
            self.user_states[par[0]].guardadas = guardadas
        return formou


class EsqueceDeDevolver(Filas):
    def sair(self, eu):
        par = self.user_states[eu].par if eu in self.user_states else None
        efeito = super().sair(eu)
        if par in self.fila_clientes:
            self.fila_clientes.remove(par)
        return efeito


PLANTADOS_COM_TUDO = {
    QualquerAtendenteServe: "pares",
    SoOlhaOPrimeiroDaFila: "espera",
    AtendenteMaisNovoPrimeiro: "ordem",
    TransferidoVaiParaOFim: "ordem",
    TransferidoFicaOndeEstava: "",
    NaoAvisaDeQuemPassouAFrente: "posição",
    ContaAFilaDeTodos: "posição",
    EmPausaContinuaNaFila: "estados",
    EsqueceAPausaPedida: "gramática",
    EmPausaContinuaOnline: "estados",
    VoltaNaFrente: "ordem",
    EntregaDuasVezesAsGuardadas: "mensagens",
    EsqueceDeDevolver: "estados",
}


@pytest.mark.parametrize(
    "filas, queixa", PLANTADOS_COM_TUDO.items(), ids=[filas.__name__ for filas in PLANTADOS_COM_TUDO]
)
def test_erro_plantado_com_tudo_ligado(so_uma_guardada, filas, queixa):
    """O explorador também encontra os erros que só as extensões permitem."""
    with pytest.raises(AssertionError, match=rf"(?s)^{queixa}.*\nHistória: entrar "):
        explorar(filas(departamentos=("V", "S"), devolver=True), COM_TUDO)


@pytest.mark.parametrize("filas, queixa", PLANTADOS.items(), ids=[filas.__name__ for filas in PLANTADOS])
def test_erro_plantado_e_encontrado(espera_curta, filas, queixa):
    """O explorador encontra o erro plantado e conta a história que leva a ele."""
    with pytest.raises(AssertionError, match=rf"(?s)^{queixa}: .*\nHistória: entrar Caio"):
        explorar(filas())
